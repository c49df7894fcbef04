//! Checks the database for damage, in the background.

use std::sync::Arc;

use sqlx::{Row as _, SqliteConnection};
use tokio::sync::Mutex;

use super::file::OpenFiles;
use crate::store::{StoreErrorKind, sql_error::kind};

/// Checks the whole database, and makes all later commits fail if it is damaged.
///
/// A damaged file may lose any event that is committed to it, for example if a page in use is also
/// in the list of free pages. The file may also have lost outcomes of deliveries, whose handlers
/// would run again. Stripe resends refused events for three days, so an operator has time to
/// restore the file.
pub(super) async fn run(connection: Arc<Mutex<SqliteConnection>>, files: Arc<OpenFiles>) {
    let file = files.database().display();
    match findings(&mut *connection.lock().await).await {
        Ok(findings) if findings.is_empty() => {
            tracing::debug!(%file, "checked the inbox's file; no damage found");
        }
        Ok(findings) => files.set_damaged(findings.join("; ")),
        Err(error) if kind(&error) == StoreErrorKind::Corrupt => {
            files.set_damaged(error.to_string());
        }
        Err(error) => {
            tracing::warn!(%file, %error, "failed to check the inbox's file for damage; the next start checks it again");
        }
    }
}

/// Returns the first few findings.
async fn findings(connection: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    let rows = sqlx::query("pragma quick_check(3)").fetch_all(connection).await?;
    let findings = rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<Vec<String>>>()?;
    Ok(if findings == ["ok"] { Vec::new() } else { findings })
}
