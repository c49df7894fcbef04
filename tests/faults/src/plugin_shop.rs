//! A webhook server with the handlers of the plugins `shop` and `shop-mail`, which the fault tests
//! run as a child process. It consists of an endpoint over HTTP, an inbox and a worker.
//!
//! Prints `listening ADDRESS` when it serves.

use std::time::Duration;

use clap::Parser;
use router_core::{
    BoxError, Endpoint, Router, SigningSecret,
    build::RouterBuilder,
    delivery::RetryPolicy,
    server::{Server, shutdown_signal},
};
use router_inbox::{
    Inbox, PostgresStore, SqliteStore, Store,
    sqlx::{PgPool, SqlitePool},
};
use shop_mail::{Mailer, SentMails};
use tokio::net::TcpListener;
use tracing_subscriber::filter::LevelFilter;

/// A webhook server with the shop's plugins.
#[derive(Parser)]
struct Options {
    /// The inbox's URL: `sqlite:FILE` or `postgres://…`. The shop's tables are in its database.
    #[arg(long)]
    inbox: String,
    /// The mail server's URL.
    #[arg(long)]
    smtp: String,
    /// The endpoint's signing secret.
    #[arg(long)]
    secret: String,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false);
    log.with_max_level(LevelFilter::WARN).init();
    let mailer = Mailer::smtp(&options.smtp, "The Shop <shop@example.com>")?;
    let router = Router::builder().plugins([shop::PLUGIN, shop_mail::PLUGIN]).state(mailer);
    let secret = SigningSecret::new(&options.secret)?;
    if options.inbox.starts_with("sqlite:") {
        let pool = SqlitePool::connect(&options.inbox).await?;
        shop::database::migrate_sqlite(&pool).await?;
        let store = SqliteStore::from_pool(&pool).await?;
        run(store, router.state(SentMails::from(pool)), secret).await
    } else {
        let pool = PgPool::connect(&options.inbox).await?;
        shop::database::migrate_postgres(&pool).await?;
        let store = PostgresStore::from_pool(&pool).await?;
        run(store, router.state(SentMails::from(pool)), secret).await
    }
}

async fn run(
    store: impl Store,
    router: RouterBuilder,
    secret: SigningSecret,
) -> Result<(), BoxError> {
    // An outage of the database counts attempts, so there are enough of them.
    let retry = RetryPolicy::new(1_000).backoff(Duration::from_millis(20));
    let retry = retry.max_backoff(Duration::from_millis(500));
    let router = router.delivered_by(&store).retry(retry).build()?;
    let inbox = Inbox::new(store, router.clone());
    let shutdown = shutdown_signal()?;
    let worker = inbox.worker(router).lease(Duration::from_secs(2));
    let worker = worker.poll_interval(Duration::from_millis(50)).concurrency(32);
    let worker = tokio::spawn(worker.run(shutdown.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    Server::new(Endpoint::new(secret, inbox)).serve(listener, shutdown).await;
    worker.await?;
    Ok(())
}
