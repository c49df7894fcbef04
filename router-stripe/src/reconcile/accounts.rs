//! The connected accounts of a platform.

use serde::Deserialize;

use super::ACCOUNTS;
use crate::{Client, Error, ErrorKind};

#[derive(Deserialize)]
struct Account {
    id: String,
}

/// Lists the ids of all connected accounts (`acct_…`) of the client's account, the newest first
/// ([`GET /v1/accounts`](https://docs.stripe.com/api/accounts/list)).
///
/// # Errors
///
/// Fails if a request fails, or if an item of the list has no id.
pub async fn connected_accounts(client: &Client) -> Result<Vec<String>, Error> {
    let mut pages = client.get(ACCOUNTS).pages();
    let mut accounts = Vec::new();
    while let Some(page) = pages.next().await? {
        for item in page {
            let Account { id } = serde_json::from_str(item.get()).map_err(|_| {
                Error::new(ErrorKind::Unreadable, "GET /v1/accounts", "an account has no id")
            })?;
            accounts.push(id);
        }
    }
    Ok(accounts)
}
