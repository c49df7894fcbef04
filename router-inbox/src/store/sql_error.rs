//! Converts errors of sqlx to store errors, and determines their kinds.

use router_core::BoxError;
use sqlx::error::{DatabaseError, ErrorKind};

use crate::{StoreError, store::StoreErrorKind};

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::new(kind(&error), cause(error))
    }
}

/// Returns the kind of an error.
pub(crate) fn kind(error: &sqlx::Error) -> StoreErrorKind {
    match error {
        sqlx::Error::PoolTimedOut => StoreErrorKind::Busy,
        sqlx::Error::Configuration(_) | sqlx::Error::Tls(_) => StoreErrorKind::Misuse,
        sqlx::Error::Encode(_) => StoreErrorKind::Rejected,
        sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::RowNotFound => StoreErrorKind::Corrupt,
        sqlx::Error::Database(error) => database_kind(&**error),
        _ => StoreErrorKind::Unavailable,
    }
}

fn database_kind(error: &dyn DatabaseError) -> StoreErrorKind {
    #[cfg(feature = "sqlite")]
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        return primary_code(error).map_or(StoreErrorKind::Unavailable, sqlite_kind);
    }
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return postgres_kind(error.code());
    }
    match error.kind() {
        ErrorKind::Other => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Rejected,
    }
}

/// Returns the primary code of SQLite's error, which is the lowest byte of an extended code.
#[cfg(feature = "sqlite")]
pub(crate) fn primary_code(error: &dyn DatabaseError) -> Option<u32> {
    error.code().and_then(|code| code.parse().ok()).map(|code: u32| code & 0xff)
}

/// Returns the kind of one of SQLite's primary [result codes](https://sqlite.org/rescode.html).
#[cfg(feature = "sqlite")]
fn sqlite_kind(code: u32) -> StoreErrorKind {
    match code {
        // `SQLITE_BUSY` and `SQLITE_LOCKED`
        5 | 6 => StoreErrorKind::Busy,
        // `SQLITE_CORRUPT` and `SQLITE_NOTADB`
        11 | 26 => StoreErrorKind::Corrupt,
        // `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT` and `SQLITE_MISMATCH`
        18..=20 => StoreErrorKind::Rejected,
        // `SQLITE_ERROR`, such as a missing table, `SQLITE_PERM`, `SQLITE_READONLY`,
        // `SQLITE_MISUSE` and `SQLITE_AUTH`
        1 | 3 | 8 | 21 | 23 => StoreErrorKind::Misuse,
        _ => StoreErrorKind::Unavailable,
    }
}

/// Returns the kind of one of PostgreSQL's
/// [error codes](https://www.postgresql.org/docs/current/errcodes-appendix.html).
#[cfg(feature = "postgres")]
fn postgres_kind(code: &str) -> StoreErrorKind {
    match code {
        // A statement was canceled by its time limit, a lock was not available, or the server has
        // no free connection.
        "57014" | "55P03" | "53300" => StoreErrorKind::Busy,
        "XX001" | "XX002" => StoreErrorKind::Corrupt,
        _ => match code.get(..2) {
            // Conflicts of transactions, such as deadlocks.
            Some("40") => StoreErrorKind::Busy,
            // Invalid data, violated constraints and exceeded limits.
            Some("22" | "23" | "54") => StoreErrorKind::Rejected,
            // Authentication, a missing database or schema, missing tables and permissions.
            Some("28" | "3D" | "3F" | "42") => StoreErrorKind::Misuse,
            _ => StoreErrorKind::Unavailable,
        },
    }
}

/// Returns the error that sqlx wraps, because sqlx's own message repeats the wrapped one.
pub(crate) fn cause(error: sqlx::Error) -> BoxError {
    match error {
        // May wrap another `sqlx::Error`.
        sqlx::Error::Configuration(error) => {
            error.downcast().map_or_else(|error| error, |error| cause(*error))
        }
        sqlx::Error::Tls(error) => error,
        sqlx::Error::Database(error) => error.into_error(),
        sqlx::Error::Io(error) => error.into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn kind_says_whether_retrying_may_help() {
        let unreadable = || BoxError::from("unreadable");
        let rows = [
            (sqlx::Error::PoolTimedOut, StoreErrorKind::Busy),
            (sqlx::Error::Io(io::Error::other("reset")), StoreErrorKind::Unavailable),
            (sqlx::Error::PoolClosed, StoreErrorKind::Unavailable),
            (sqlx::Error::Configuration(unreadable()), StoreErrorKind::Misuse),
            (sqlx::Error::Tls(unreadable()), StoreErrorKind::Misuse),
            (sqlx::Error::Decode(unreadable()), StoreErrorKind::Corrupt),
            (sqlx::Error::Encode(unreadable()), StoreErrorKind::Rejected),
        ];
        for (error, expected) in rows {
            let text = error.to_string();
            assert_eq!(StoreError::from(error).kind(), expected, "{text}");
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn postgres_codes_have_kinds() {
        let rows = [
            ("57014", StoreErrorKind::Busy),
            ("40P01", StoreErrorKind::Busy),
            ("53100", StoreErrorKind::Unavailable),
            ("57P01", StoreErrorKind::Unavailable),
            ("25006", StoreErrorKind::Unavailable),
            ("54000", StoreErrorKind::Rejected),
            ("28P01", StoreErrorKind::Misuse),
            ("42P01", StoreErrorKind::Misuse),
            ("XX001", StoreErrorKind::Corrupt),
        ];
        for (code, expected) in rows {
            assert_eq!(postgres_kind(code), expected, "{code}");
        }
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn sqlite_codes_have_kinds() {
        use sqlx::{Connection as _, SqliteConnection};

        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let setup = sqlx::raw_sql("create table t (a unique not null); insert into t values (1)");
        setup.execute(&mut database).await.unwrap();
        let rows = [
            ("insert into t values (1)", StoreErrorKind::Rejected),
            ("select * from missing", StoreErrorKind::Misuse),
            ("select zeroblob(2000000000)", StoreErrorKind::Rejected),
            ("pragma query_only = 1; delete from t", StoreErrorKind::Misuse),
        ];
        for (statement, expected) in rows {
            let error = sqlx::raw_sql(statement).execute(&mut database).await.unwrap_err();
            assert_eq!(kind(&error), expected, "{statement}: {error}");
        }
        for (code, expected) in [(5, StoreErrorKind::Busy), (11, StoreErrorKind::Corrupt)] {
            assert_eq!(sqlite_kind(code), expected, "{code}");
        }
    }
}
