//! The shops, each in a SQLite file of its own.

use std::time::{Duration, UNIX_EPOCH};

use axum::{body::Body, http::StatusCode};
use router_core::{
    Router, SigningSecret,
    build::RouterBuilder,
    clock::{Clock as _, SystemClock},
    testing::{ManualClock, Payload, SyntheticEvent},
};
use router_inbox::{SqliteStore, testing::TestInbox};
use shop_by_hand::{Mailer, Shop, app};
use sqlx::{
    Row as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tempfile::TempDir;
use tower::ServiceExt as _;

pub(crate) const FROM: &str = "The Shop <shop@example.com>";
const SECRET: &str = "whsec_test";

/// A mail server that refuses connections.
pub(crate) const NO_SERVER: &str = "smtp://127.0.0.1:1";

/// The shop by hand.
pub(crate) struct ByHand {
    pub(crate) pool: SqlitePool,
    app: axum::Router,
    _folder: TempDir,
}

/// A shop with the router.
pub(crate) struct WithRouter {
    pub(crate) pool: SqlitePool,
    pub(crate) inbox: TestInbox,
    _folder: TempDir,
}

/// Returns an event of this time, in seconds since 1970.
pub(crate) fn event(event_type: &str, seconds: u64) -> SyntheticEvent {
    let created = UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
    SyntheticEvent::new(event_type).created(created)
}

impl ByHand {
    pub(crate) async fn new(mail_server: &str) -> Self {
        let (folder, pool) = database().await;
        sqlx::migrate!().run(&pool).await.unwrap();
        let mailer = Mailer::new(mail_server).unwrap();
        let shop = Shop { pool: pool.clone(), secret: SECRET.into(), mailer };
        Self { pool, app: app(shop), _folder: folder }
    }

    /// Sends an event with a signature of the shop's secret.
    pub(crate) async fn send(&self, event: &Payload) -> StatusCode {
        self.send_signed(event, SECRET).await
    }

    pub(crate) async fn send_signed(&self, event: &Payload, secret: &str) -> StatusCode {
        let request = event.request(&SigningSecret::new(secret).unwrap()).map(Body::new);
        self.app.clone().oneshot(request).await.unwrap().status()
    }
}

impl WithRouter {
    pub(crate) async fn new(mail_server: &str) -> Self {
        let (folder, pool) = database().await;
        shop::database::migrate_sqlite(&pool).await.unwrap();
        let router = Router::builder()
            .plugins([shop::PLUGIN, shop_mail::PLUGIN])
            .without_plugin(shop_same_rules::PLUGIN)
            .state(shop_mail::Mailer::smtp(mail_server, FROM).unwrap())
            .state(shop_mail::SentMails::from(pool.clone()));
        Self::with(router, pool, folder).await
    }

    /// Returns the shop with the rules and the tables of the one by hand.
    pub(crate) async fn same_rules(mail_server: &str) -> Self {
        let (folder, pool) = database().await;
        sqlx::migrate!().run(&pool).await.unwrap();
        let router = Router::builder()
            .plugins([shop_same_rules::PLUGIN])
            .without_plugin(shop::PLUGIN)
            .without_plugin(shop_mail::PLUGIN)
            .state(shop_same_rules::Mailer::new(mail_server).unwrap())
            .state(pool.clone());
        Self::with(router, pool, folder).await
    }

    async fn with(router: RouterBuilder, pool: SqlitePool, folder: TempDir) -> Self {
        let clock = ManualClock::at(SystemClock.wall());
        let store = SqliteStore::options().clock(clock.clone()).open_with(&pool).await.unwrap();
        let router = router.delivered_by(&store);
        let inbox = TestInbox::with_store(router, store, clock).unwrap();
        Self { pool, inbox, _folder: folder }
    }

    /// Sends an event, and runs its handlers.
    pub(crate) async fn send(&self, event: &Payload) -> u16 {
        let response = self.inbox.deliver(event).await;
        self.inbox.run_until_idle().await;
        response.status()
    }
}

async fn database() -> (TempDir, SqlitePool) {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A test that locks the database does not wait.
        .busy_timeout(Duration::ZERO);
    (folder, SqlitePool::connect_with(options).await.unwrap())
}

/// Returns the first column of the rows, which must be a text.
pub(crate) async fn rows(pool: &SqlitePool, query: &'static str) -> Vec<String> {
    let rows = sqlx::query(query).fetch_all(pool).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
