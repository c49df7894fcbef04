//! Checks whether a file contains an inbox, without changing it.

use sqlx::{ConnectOptions as _, Connection as _, Row as _, sqlite::SqliteConnectOptions};

use super::open;
use crate::StoreError;

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("{url} does not exist; the webhook server creates the inbox's file")]
    Missing { url: String },
    #[error("{url} is a database that contains no inbox")]
    NoInbox { url: String },
    #[error("{url} cannot be opened as an inbox")]
    NotOpened { url: String, source: sqlx::Error },
}

/// Checks that the file contains an inbox.
///
/// # Errors
///
/// Fails if the file does not exist, cannot be opened, or contains no inbox.
pub(super) async fn check(url: &str, options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let url = url.to_owned();
    match is_inbox(options.clone()).await {
        Ok(Some(true)) => Ok(()),
        Ok(Some(false)) => Err(StoreError::misuse(OpenError::NoInbox { url })),
        Ok(None) => Err(StoreError::misuse(OpenError::Missing { url })),
        Err(source) => {
            let kind = open::open_error_kind(&source);
            Err(StoreError::new(kind, OpenError::NotOpened { url, source }))
        }
    }
}

/// Returns whether the file contains the tables of an inbox, or `None` if there is no file.
async fn is_inbox(options: SqliteConnectOptions) -> sqlx::Result<Option<bool>> {
    if !options.get_filename().exists() {
        return Ok(None);
    }
    let mut reader = options.read_only(true).create_if_missing(false).connect().await?;
    let columns = sqlx::query(
        "select (select count(*) from pragma_table_info('events') where name in ('event_id', 'generation'))
              + (select count(*) from pragma_table_info('deliveries') where name in ('handler', 'token'))",
    );
    let columns: i64 = columns.fetch_one(&mut reader).await?.try_get(0)?;
    reader.close().await?;
    Ok(Some(columns == 4))
}
