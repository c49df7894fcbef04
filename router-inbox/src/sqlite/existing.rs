//! Checks whether a file contains an inbox, without changing it.

use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::{
    open,
    schema::{self, MigrateError},
};
use crate::StoreError;

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("{url} does not exist; the webhook server creates the inbox's file")]
    Missing { url: String },
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
    if !options.get_filename().exists() {
        return Err(StoreError::misuse(OpenError::Missing { url }));
    }
    check_tables(options.clone().read_only(true).create_if_missing(false)).await.map_err(|error| {
        match error {
            MigrateError::Sql(source) => {
                let kind = open::open_error_kind(&source);
                StoreError::new(kind, OpenError::NotOpened { url, source })
            }
            MigrateError::Unusable(_) => open::not_opened(url, error),
        }
    })
}

async fn check_tables(options: SqliteConnectOptions) -> Result<(), MigrateError> {
    let mut reader = options.connect().await?;
    let checked = schema::check(&mut reader).await;
    reader.close().await?;
    checked
}
