//! The same shop with the router, as a server: its glue, for the comparison.

use std::{env, error::Error};

use router_core::{Endpoint, Router, Secrets, health::HealthEndpoint, server::shutdown_signal};
use router_inbox::{
    Inbox, SqliteStore,
    sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool},
};
use shop_mail::{Mailer, SentMails};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();

    let mailer = Mailer::smtp(&env::var("SMTP_URL")?, "The Shop <shop@example.com>")?;
    let options = SqliteConnectOptions::new()
        .filename("shop.db")
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await?;
    shop::database::migrate_sqlite(&pool).await?;

    let store = SqliteStore::from_pool(&pool).await?;
    let router = Router::builder()
        .plugins([shop::PLUGIN, shop_mail::PLUGIN])
        .state(mailer)
        .state(SentMails::from(pool))
        .delivered_by(&store)
        .build()?;
    let inbox = Inbox::new(store, router.clone());
    let shutdown = shutdown_signal()?;
    let worker = inbox.worker(router);
    let health = HealthEndpoint::new().check(inbox.health()).check(worker.health());
    let worker = tokio::spawn(worker.run(shutdown.clone()));
    let endpoint = Endpoint::new(Secrets::from_env("STRIPE_WEBHOOK_SECRET")?, inbox);
    let app =
        axum::Router::new().route_service("/webhook", endpoint).route_service("/healthz", health);
    let listener = TcpListener::bind("127.0.0.1:4242").await?;
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await?;
    worker.await?;
    Ok(())
}
