//! Opens a file for somebody who looks into an inbox and has none of their own.

use std::str::FromStr as _;

use sqlx::{ConnectOptions as _, Connection as _, Row as _, sqlite::SqliteConnectOptions};

use super::SqliteStore;
use crate::StoreError;

#[derive(Debug, thiserror::Error)]
enum NoInbox {
    #[error("{url} is not there; the server that receives into an inbox makes its file")]
    Missing { url: String },
    #[error("{url} is a database without an inbox in it")]
    AnotherDatabase { url: String },
    #[error("{url} cannot be opened as an inbox")]
    NotOpened { url: String, source: sqlx::Error },
}

impl SqliteStore {
    /// As [`open`](Self::open), but makes no file, and changes none that is not an inbox's.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the file is not there, cannot be opened, or is no inbox's.
    pub async fn open_existing(url: &str) -> Result<Self, StoreError> {
        let is_inbox = is_inbox(url).await;
        let of_file = |source| NoInbox::NotOpened { url: url.to_owned(), source };
        match is_inbox.map_err(of_file).map_err(StoreError::of)? {
            Some(true) => Self::open(url).await,
            Some(false) => Err(StoreError::of(NoInbox::AnotherDatabase { url: url.to_owned() })),
            None => Err(StoreError::of(NoInbox::Missing { url: url.to_owned() })),
        }
    }
}

/// Whether a file has the tables of an inbox; `None` where there is no file.
async fn is_inbox(url: &str) -> sqlx::Result<Option<bool>> {
    let options = SqliteConnectOptions::from_str(url)?;
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
