//! Mail that is sent once, although its handler may run several times.

use router_core::{
    BoxError, Event, FromEvent, IdempotencyKey, Outcome, Rejection, State, handler::HandlerResult,
};
use shop::database::Database;
use sqlx::{PgPool, SqlitePool};

use crate::{Mail, Mailer};

/// Sends a mail once. A handler takes it as an argument; it needs a [`Mailer`] and the
/// [`SentMails`] as states, and an inbox in the same database.
///
/// Each mail has a key, and the table `sent_mails` has the keys of all sent mails. A row is
/// committed with the handler's delivery, after the server has accepted the mail. A mail is
/// therefore never lost, but it is sent again after a crash in between, after a lost connection,
/// or if two handlers send a mail with the same key at the same time. A mail that the same delivery
/// sends again has the same `Message-ID`, so that mail systems may recognize it.
#[derive(Debug)]
pub struct Outbox {
    key: IdempotencyKey,
    mailer: State<Mailer>,
    sent: State<SentMails>,
    database: Database,
}

/// The table `sent_mails` in the inbox's database.
#[derive(Debug, Clone)]
pub enum SentMails {
    /// The table is in SQLite.
    Sqlite(SqlitePool),
    /// The table is in PostgreSQL.
    Postgres(PgPool),
}

impl Outbox {
    /// Sends a mail, unless a mail with this key has been sent. Consumes the outbox, because the
    /// `Message-ID` is for one mail.
    ///
    /// # Errors
    ///
    /// - Fails as [`Mailer::send`] does.
    /// - Fails transiently if the database cannot be read or written.
    pub async fn send_once(mut self, key: &str, mail: &Mail<'_>) -> HandlerResult {
        if self.sent.contains(key).await? {
            return Ok(Outcome::ignored("the mail has been sent"));
        }
        self.mailer.send(&self.key, mail).await?;
        // The transaction begins only now, because SQLite has a single writer.
        let insert = "insert into sent_mails (key) values ($1) on conflict do nothing";
        self.database.begin().await?.execute(insert, &[key.into()]).await?;
        Ok(Outcome::Done)
    }
}

impl FromEvent for Outbox {
    type Needs = (IdempotencyKey, State<Mailer>, State<SentMails>, <Database as FromEvent>::Needs);

    async fn from_event(event: &Event, needs: Self::Needs) -> Result<Self, Rejection> {
        let (key, mailer, sent, tx) = needs;
        Ok(Self { key, mailer, sent, database: Database::from_event(event, tx).await? })
    }
}

impl SentMails {
    /// Returns whether a mail with this key has been sent. Reads outside of the handler's
    /// transaction, which would block all other writes to SQLite while the mail is sent.
    async fn contains(&self, key: &str) -> Result<bool, BoxError> {
        let statement = "select exists (select 1 from sent_mails where key = $1)";
        Ok(match self {
            Self::Sqlite(pool) => sqlx::query_scalar(statement).bind(key).fetch_one(pool).await?,
            Self::Postgres(pool) => sqlx::query_scalar(statement).bind(key).fetch_one(pool).await?,
        })
    }
}

impl From<SqlitePool> for SentMails {
    fn from(pool: SqlitePool) -> Self {
        Self::Sqlite(pool)
    }
}

impl From<PgPool> for SentMails {
    fn from(pool: PgPool) -> Self {
        Self::Postgres(pool)
    }
}
