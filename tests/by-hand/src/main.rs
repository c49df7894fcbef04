//! The shop as a server.

use std::env;

use anyhow::Context as _;
use shop_by_hand::{Mailer, Shop, app};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();

    let secret = env::var("STRIPE_WEBHOOK_SECRET").context("STRIPE_WEBHOOK_SECRET")?;
    let mailer = Mailer::new(&env::var("SMTP_URL").context("SMTP_URL")?)?;
    let options = SqliteConnectOptions::new()
        .filename("shop.db")
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::migrate!().run(&pool).await?;

    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind("127.0.0.1:4242").await?;
    let app = app(Shop { pool, secret: secret.into(), mailer });
    let shutdown = async move {
        terminate.recv().await;
    };
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await?;
    Ok(())
}
