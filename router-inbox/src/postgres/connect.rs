//! How a server is reached, and what is told where it is not.

use std::{io::ErrorKind, str::FromStr as _, time::Duration};

use router_core::{
    BoxError,
    clock::{Clock as _, SystemClock},
};
use sqlx::{
    ConnectOptions as _, PgConnection, PgPool, Row as _,
    error::DatabaseError,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::schema::Schema;
use crate::StoreError;

/// How many connections a process has at most.
const CONNECTIONS: u32 = 10;

/// How long one is waited for. Stripe waits for the answer meanwhile.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a session is set to, whatever the database or the role has been set to:
///
/// - A commit is on the disk before it returns.
/// - Each statement sees what was committed before it: who has waited for a lock relies on it.
/// - Statements are planned each time. A plan that was made while the tables were small would be kept.
const SESSION: &str = "
    select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';
    set default_transaction_isolation = 'read committed';
    set plan_cache_mode = force_custom_plan";

const NO_TLS: &str = "no TLS that both sides trust; see `sslmode` and `sslrootcert` in the URL";

/// A server and a database, as errors name them: without the password.
#[derive(Debug, Clone)]
pub(super) struct Server {
    place: String,
    user: String,
    database: String,
    is_socket: bool,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the inbox's URL cannot be read; write postgres://user:password@host:5432/database, and in the password %40 for \
     @, %2F for /, %3F for ?, %23 for # and %25 for %"
)]
struct NoUrl {
    source: Option<BoxError>,
}

#[derive(Debug, thiserror::Error)]
#[error("{place} cannot be used as an inbox: {advice}")]
struct Unusable {
    place: String,
    advice: String,
    source: Option<BoxError>,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "no connection to {place} within {PATIENCE:?}: the server cannot be reached, or all {CONNECTIONS} connections of \
     this process are in use"
)]
struct NoConnection {
    place: String,
}

impl Server {
    /// Which one a URL names, and how it is reached.
    pub(super) fn of(url: &str) -> Result<(Self, PgConnectOptions), StoreError> {
        let no_url = |source| StoreError::of(NoUrl { source });
        let schemes = ["postgres://", "postgresql://"];
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| no_url(None))?;
        // Of `user:pass/word@host`, half of the password would be the name of the database.
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if rest[end..].contains(['@', '#']) {
            return Err(no_url(None));
        }
        let options =
            PgConnectOptions::from_str(url).map_err(|error| no_url(Some(cause(error))))?;
        // An IPv6 address is in brackets for people only, and sqlx would look them up too.
        let host = options.get_host().to_owned();
        let options = options.host(host.trim_matches(['[', ']']));
        let user = options.get_username().to_owned();
        let database = options.get_database().unwrap_or(&user).to_owned();
        let place = match options.get_socket() {
            Some(socket) => format!("the database {database} at {}", socket.display()),
            None => format!("the database {database} at {host}:{}", options.get_port()),
        };
        let is_socket = options.get_socket().is_some() || host.starts_with('/');
        Ok((Self { place, user, database, is_socket }, options))
    }

    /// Connects, and tells what is wrong at once: a pool would try again until its patience ends.
    pub(super) async fn connect(
        &self,
        options: &PgConnectOptions,
        schema: &Schema,
    ) -> Result<PgConnection, StoreError> {
        let connected = async {
            let mut connection = options.connect().await?;
            let row = sqlx::query("select current_setting('server_encoding')");
            let encoding: String = row.fetch_one(&mut connection).await?.try_get(0)?;
            sqlx::raw_sql(SESSION).execute(&mut connection).await?;
            Ok((connection, encoding))
        };
        let connected = tokio::select! {
            connected = connected => connected,
            () = SystemClock.sleep(PATIENCE) => {
                let advice = format!(
                    "no answer within {PATIENCE:?}; set host and port right in the URL, or see what keeps the server"
                );
                return Err(self.not_an_inbox(advice, None));
            }
        };
        let (connection, encoding) = connected.map_err(|error| self.unusable(error, schema))?;
        if encoding != "UTF8" {
            let advice = format!(
                "its encoding is {encoding}, which does not have all characters of an event; make another with \
                 `create database … encoding 'UTF8' template template0`"
            );
            return Err(self.not_an_inbox(advice, None));
        }
        Ok(connection)
    }

    /// What an error means of a connection that is new, and what to do.
    pub(super) fn unusable(&self, error: sqlx::Error, schema: &Schema) -> StoreError {
        let Self { user, database, .. } = self;
        let code = error.as_database_error().and_then(DatabaseError::code);
        let advice = match (&error, code.as_deref()) {
            // What is wrong with a certificate is told as data that cannot be read, or a file that is not there.
            (sqlx::Error::Io(error), _)
                if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::NotFound)
                    && !self.is_socket =>
            {
                NO_TLS.into()
            }
            (sqlx::Error::Io(_), _) => {
                "no server can be reached there; start it, or set host and port right in the URL".into()
            }
            (sqlx::Error::Tls(_), _) => NO_TLS.into(),
            (_, Some("28P01" | "28000")) => format!(
                "the server does not let {user} in so; set user and password right in the URL, or allow it in \
                 the server's pg_hba.conf"
            ),
            (_, Some("3D000")) => format!(
                "the server has no such database; make it with `create database \"{database}\"`, or name another"
            ),
            (_, Some("42501")) => format!(
                "{user} may not make the inbox's tables; have `create schema \"{schema}\" authorization \
                 \"{user}\"` run by somebody who may, or `grant all on schema …` where it is there"
            ),
            (_, Some("53300")) => {
                "the server has no connection left; raise its max_connections, or run fewer processes".into()
            }
            (_, Some("57P03")) => "the server is starting or stopping; try again".into(),
            _ => "see what the server says".into(),
        };
        self.not_an_inbox(advice, Some(cause(error)))
    }

    /// That nobody has made one here.
    pub(super) fn no_inbox(&self) -> StoreError {
        let advice = "there is none in it; the server that receives into one makes its tables, so see whether the URL \
                      is that server's";
        self.not_an_inbox(advice.into(), None)
    }

    fn not_an_inbox(&self, advice: String, source: Option<BoxError>) -> StoreError {
        StoreError::of(Unusable { place: self.place.clone(), advice, source })
    }

    /// What an error means later.
    pub(super) fn failed(&self, error: sqlx::Error) -> StoreError {
        match error {
            sqlx::Error::PoolTimedOut => StoreError::of(NoConnection { place: self.place.clone() }),
            error => StoreError(cause(error)),
        }
    }
}

/// What sqlx wraps: around it stands nothing but the same words once more.
fn cause(error: sqlx::Error) -> BoxError {
    match error {
        // It wraps itself.
        sqlx::Error::Configuration(error) => {
            error.downcast().map_or_else(|error| error, |error| cause(*error))
        }
        sqlx::Error::Tls(error) => error,
        sqlx::Error::Database(error) => error.into_error(),
        sqlx::Error::Io(error) => error.into(),
        other => other.into(),
    }
}

/// Connects when it is asked to, and again whenever a connection is lost.
pub(super) fn pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| {
            Box::pin(async { sqlx::raw_sql(SESSION).execute(connection).await.map(drop) })
        })
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(may_write(connection)))
        .connect_lazy_with(options)
}

/// Whether a connection is alive, which is what the pool itself would ask, and may write. A session that began while
/// the database was read-only, as in a failover, may not for as long as it lasts, and another that begins now may.
async fn may_write(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let row = sqlx::query("show transaction_read_only").fetch_one(connection).await?;
    Ok(row.try_get::<String, _>(0)? == "off")
}
