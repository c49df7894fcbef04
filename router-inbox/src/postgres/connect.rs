//! Connects to a server, and explains why that failed.

use std::{io::ErrorKind, str::FromStr as _, time::Duration};

use router_core::{
    BoxError,
    clock::{Clock as _, SystemClock},
};
use sqlx::{
    ConnectOptions as _, PgConnection, Row as _,
    error::DatabaseError,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::schema::Schema;
use crate::{
    StoreError,
    store::{
        StoreErrorKind, parameters,
        sql_error::{cause, kind},
    },
};

/// Settings of each session, which override those of the database and the role:
///
/// - A commit returns only after it is on disk.
/// - Each statement sees everything committed before it began. Code that waits for a lock in one
///   statement and reads in the next relies on this.
/// - Each statement is planned on every execution. A cached plan made while the tables were small
///   would stay in use after they have grown.
/// - The server ends the session of an unreachable process within half a minute. Until then, the
///   process's transactions hold their locks.
pub(super) const SESSION_SETTINGS: &str = "
    select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';
    set default_transaction_isolation = 'read committed';
    set plan_cache_mode = force_custom_plan;
    set tcp_keepalives_idle = 15;
    set tcp_keepalives_interval = 5;
    set tcp_keepalives_count = 3;
    set tcp_user_timeout = 30000";

const TLS_ADVICE: &str =
    "cannot establish a trusted TLS connection; check `sslmode` and `sslrootcert` in the URL";

/// The parameters of a URL that sqlx knows.
const PARAMETERS: [&str; 19] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "statement-cache-capacity",
    "options",
    "options[",
    "ssl-mode",
    "ssl-root-cert",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
];

/// A server and a database, as named in errors: without the password.
#[derive(Debug, Clone)]
pub(super) struct Server {
    location: String,
    user: String,
    database: String,
    is_socket: bool,
    acquire_timeout: Duration,
}

/// Does not name the value, unlike sqlx's error: it may belong to another parameter.
#[derive(Debug, thiserror::Error)]
#[error(
    "the inbox's URL has an invalid `sslmode`; it must be disable, allow, prefer, require, \
     verify-ca or verify-full"
)]
struct InvalidSslMode;

#[derive(Debug, thiserror::Error)]
#[error(
    "invalid URL of the inbox; write postgres://user:password@host:5432/database, and in the password %40 for \
     @, %2F for /, %3F for ?, %23 for # and %25 for %"
)]
struct InvalidUrl {
    source: Option<BoxError>,
}

#[derive(Debug, thiserror::Error)]
#[error("{location} cannot be used as an inbox: {advice}")]
struct Unusable {
    location: String,
    advice: String,
    source: Option<BoxError>,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "no connection to {location} within {timeout:?}: the server cannot be reached or does not \
     answer, or all connections of this process are in use"
)]
struct NoConnection {
    location: String,
    timeout: Duration,
}

impl Server {
    /// Parses a URL into the options to connect to the server.
    pub(super) fn parse(url: &str) -> Result<PgConnectOptions, StoreError> {
        let invalid_url = |source| StoreError::misuse(InvalidUrl { source });
        let schemes = ["postgres://", "postgresql://"];
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| invalid_url(None))?;
        // Rejected: in `user:pass/word@host`, part of the password would be taken as the database
        // name, and would then be shown in errors. So would a password after a `;`.
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if rest[end..].contains(['@', '#', ';']) {
            return Err(invalid_url(None));
        }
        if let Some((_, query)) = rest.split_once('?') {
            parameters::check(query, &PARAMETERS).map_err(StoreError::misuse)?;
            let ssl_mode = query.split('&').find_map(|parameter| {
                let (name, value) = parameter.split_once('=')?;
                ["sslmode", "ssl-mode"].contains(&name).then_some(value)
            });
            if ssl_mode.is_some_and(|mode| PgSslMode::from_str(mode).is_err()) {
                return Err(StoreError::misuse(InvalidSslMode));
            }
        }
        PgConnectOptions::from_str(url).map_err(|error| invalid_url(Some(cause(error))))
    }

    /// Returns the server's description, and the options to connect to it.
    pub(super) fn new(
        options: PgConnectOptions,
        acquire_timeout: Duration,
    ) -> (Self, PgConnectOptions) {
        // In a URL an IPv6 address is in brackets, which sqlx would pass to the name lookup.
        let host = options.get_host().to_owned();
        let options = options.host(host.trim_matches(['[', ']']));
        let user = options.get_username().to_owned();
        let database = options.get_database().unwrap_or(&user).to_owned();
        let location = match options.get_socket() {
            Some(socket) => format!("the database {database} at {}", socket.display()),
            None => format!("the database {database} at {host}:{}", options.get_port()),
        };
        let is_socket = options.get_socket().is_some() || host.starts_with('/');
        (Self { location, user, database, is_socket, acquire_timeout }, options)
    }

    /// Connects and applies [`SESSION_SETTINGS`]. Reports the first failure at once, while a pool
    /// would retry until its timeout.
    pub(super) async fn connect(
        &self,
        options: &PgConnectOptions,
        schema: &Schema,
    ) -> Result<PgConnection, StoreError> {
        let connected = async {
            let mut connection = options.connect().await?;
            let row = sqlx::query("select current_setting('server_encoding')");
            let encoding: String = row.fetch_one(&mut connection).await?.try_get(0)?;
            sqlx::raw_sql(SESSION_SETTINGS).execute(&mut connection).await?;
            Ok((connection, encoding))
        };
        let connected = tokio::select! {
            connected = connected => connected,
            () = SystemClock.sleep(self.acquire_timeout) => {
                let advice = format!(
                    "no answer within {:?}; correct the host and port in the URL, or check why the server does not \
                     answer",
                    self.acquire_timeout
                );
                return Err(self.not_an_inbox(StoreErrorKind::Unavailable, advice, None));
            }
        };
        let (connection, encoding) =
            connected.map_err(|error| self.connect_error(error, schema))?;
        if encoding != "UTF8" {
            let advice = format!(
                "its encoding is {encoding}, which cannot represent every character of an event; create another \
                 database with `create database … encoding 'UTF8' template template0`"
            );
            return Err(self.not_an_inbox(StoreErrorKind::Misuse, advice, None));
        }
        Ok(connection)
    }

    /// Converts an error of the first connection, with advice on what to do.
    pub(super) fn connect_error(&self, error: sqlx::Error, schema: &Schema) -> StoreError {
        let Self { user, database, .. } = self;
        let code = error.as_database_error().and_then(DatabaseError::code);
        let advice = match (&error, code.as_deref()) {
            // sqlx reports an invalid certificate as `InvalidData`, and a missing certificate file
            // as `NotFound`.
            (sqlx::Error::Io(error), _)
                if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::NotFound)
                    && !self.is_socket =>
            {
                TLS_ADVICE.into()
            }
            (sqlx::Error::Io(_), _) => {
                "the server cannot be reached; start it, or correct the host and port in the URL".into()
            }
            (sqlx::Error::Tls(_), _) => TLS_ADVICE.into(),
            (_, Some("28P01" | "28000")) => format!(
                "authentication failed for user {user}; correct the user and password in the URL, or allow the \
                 connection in the server's pg_hba.conf"
            ),
            (_, Some("3D000")) => format!(
                "the server has no such database; create it with `create database \"{database}\"`, or name another"
            ),
            (_, Some("42501")) => format!(
                "user {user} may not create the inbox's tables; run `create schema \"{schema}\" authorization \
                 \"{user}\"` as a user who may, or `grant all on schema …` if the schema exists"
            ),
            // A duplicate table, object or function, or an undefined column.
            (_, Some("42P07" | "42710" | "42723" | "42703")) => format!(
                "the schema {schema} has tables of another program; choose a schema for the inbox alone with \
                 `PostgresStore::options().schema(…)`"
            ),
            (_, Some("53300")) => {
                "the server has no free connection; raise its max_connections, or run fewer processes".into()
            }
            (_, Some("55P03")) => format!(
                "another transaction uses a table of the schema {schema}, which a new version has to change; try again \
                 when it has ended: see pg_stat_activity"
            ),
            (_, Some("57P03")) => "the server is starting or stopping; try again".into(),
            _ => "see the server's error message".into(),
        };
        self.not_an_inbox(kind(&error), advice, Some(cause(error)))
    }

    /// The error for a database without an inbox.
    pub(super) fn no_inbox(&self) -> StoreError {
        let advice = "it contains no inbox; the webhook server creates the tables, so check that both use the same \
                      URL";
        self.not_an_inbox(StoreErrorKind::Misuse, advice.into(), None)
    }

    /// The error for an inbox that lacks a table.
    pub(super) fn incomplete(&self, schema: &Schema, table: &str) -> StoreError {
        let advice = format!(
            "its inbox has no table {schema}.{table}. If another version of router-inbox has made it, finish its \
             deliveries with that version, or name another schema with `PostgresStore::options().schema(…)`. \
             Otherwise restore a backup of the schema"
        );
        self.not_an_inbox(StoreErrorKind::Misuse, advice, None)
    }

    /// The error for a user who may not read the paused handlers.
    pub(super) fn pauses_unreadable(&self, schema: &Schema) -> StoreError {
        let advice = format!(
            "its user may not read {schema}.paused, without which no handler runs; run `grant select, insert, \
             update, delete on all tables in schema {schema} to …` as its owner"
        );
        self.not_an_inbox(StoreErrorKind::Misuse, advice, None)
    }

    fn not_an_inbox(
        &self,
        kind: StoreErrorKind,
        advice: String,
        source: Option<BoxError>,
    ) -> StoreError {
        StoreError::new(kind, Unusable { location: self.location.clone(), advice, source })
    }

    /// Converts an error of an open store.
    pub(super) fn store_error(&self, error: sqlx::Error) -> StoreError {
        match error {
            sqlx::Error::PoolTimedOut => {
                let (location, timeout) = (self.location.clone(), self.acquire_timeout);
                StoreError::busy(NoConnection { location, timeout })
            }
            error => error.into(),
        }
    }
}
