//! Opens an existing file, for operators: does not create an inbox.

use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::{SqliteStore, open};
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

impl SqliteStore {
    /// Opens like [`open`](Self::open), but does not create a file, change a file that contains no
    /// inbox, or check the file for damage.
    ///
    /// # Errors
    ///
    /// Fails if the file does not exist, cannot be opened, or contains no inbox.
    pub async fn open_existing(url: &str) -> Result<Self, StoreError> {
        open::check_parameters(url)?;
        let is_inbox = is_inbox(url).await;
        let not_opened = |source| {
            let kind = open::open_error_kind(&source);
            StoreError::new(kind, OpenError::NotOpened { url: url.to_owned(), source })
        };
        match is_inbox.map_err(not_opened)? {
            Some(true) => open::file(url).await.map(Self::new),
            Some(false) => Err(StoreError::misuse(OpenError::NoInbox { url: url.to_owned() })),
            None => Err(StoreError::misuse(OpenError::Missing { url: url.to_owned() })),
        }
    }
}

/// Returns whether the file contains the tables of an inbox, or `None` if there is no file.
async fn is_inbox(url: &str) -> sqlx::Result<Option<bool>> {
    let options = open::options(url)?;
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
