//! The handlers of the plugins `shop` and `shop-mail`: their tables in the inbox's database, and
//! their mailer.

use std::{error::Error, str::FromStr as _, sync::Arc};

use router_core::build::RouterBuilder;
use router_inbox::sqlx::{
    self, FromRow, PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgRow},
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use shop::database::{migrate_postgres, migrate_sqlite};
use shop_mail::{Mailer, SentMails};

/// The shop of an inbox in SQLite or PostgreSQL.
#[derive(Clone)]
pub(crate) struct Shop {
    reader: Reader,
    pub(crate) mailer: Arc<Mailer>,
}

/// Connections that only read. Handlers write with the inbox's connections, in the transaction of
/// their delivery.
#[derive(Clone)]
enum Reader {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Shop {
    /// Creates or migrates the tables in the inbox's file. The inbox has been opened before, which
    /// creates the file.
    pub(crate) async fn in_sqlite(url: &str, mailer: Mailer) -> Result<Self, Box<dyn Error>> {
        let options = SqliteConnectOptions::from_str(url)?;
        let writer = SqlitePool::connect_with(options.clone()).await?;
        migrate_sqlite(&writer).await.map_err(|error| format!("{TABLES}: {error}"))?;
        writer.close().await;
        let reader = SqlitePool::connect_with(options.read_only(true)).await?;
        Ok(Self { reader: Reader::Sqlite(reader), mailer: Arc::new(mailer) })
    }

    /// Creates or migrates the tables in the inbox's database.
    pub(crate) async fn in_postgres(url: &str, mailer: Mailer) -> Result<Self, Box<dyn Error>> {
        let options = PgConnectOptions::from_str(url)?;
        let writer = PgPool::connect_with(options.clone()).await?;
        migrate_postgres(&writer).await.map_err(|error| format!("{TABLES}: {error}"))?;
        writer.close().await;
        let options = options.options([("default_transaction_read_only", "on")]);
        let reader = PgPool::connect_with(options).await?;
        Ok(Self { reader: Reader::Postgres(reader), mailer: Arc::new(mailer) })
    }

    /// Adds the handlers, and the states that they take.
    pub(crate) fn add_handlers(&self, router: RouterBuilder) -> RouterBuilder {
        let sent_mails = match self.reader.clone() {
            Reader::Sqlite(pool) => SentMails::from(pool),
            Reader::Postgres(pool) => SentMails::from(pool),
        };
        let router = router.plugins([shop::PLUGIN, shop_mail::PLUGIN]);
        router.shared_state(self.mailer.clone()).state(sent_mails)
    }

    /// Reads the rows of a query, which both databases accept.
    pub(crate) async fn rows<T>(&self, query: &'static str) -> sqlx::Result<Vec<T>>
    where
        T: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>,
    {
        match &self.reader {
            Reader::Sqlite(pool) => sqlx::query_as(query).fetch_all(pool).await,
            Reader::Postgres(pool) => sqlx::query_as(query).fetch_all(pool).await,
        }
    }
}

const TABLES: &str = "cannot create or migrate the shop's tables in the inbox's database";

/// Leaves out the shop's handlers. They write to the inbox's database, so an inbox without SQL
/// cannot run them.
pub(crate) fn without_shop(router: RouterBuilder) -> RouterBuilder {
    router.without_plugin(shop::PLUGIN).without_plugin(shop_mail::PLUGIN)
}
