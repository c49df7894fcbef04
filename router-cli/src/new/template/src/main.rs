//! The server: options, the inbox with its worker, and the routes.

use std::io::{self, IsTerminal, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use router_core::handler::ErrorChain;
use router_core::health::HealthEndpoint;
use router_core::server::{Server, shutdown_signal};
use router_core::{BoxError, Endpoint, Router, Secrets, SigningSecret};
use router_inbox::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool};
use router_inbox::{Inbox, SqliteStore};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

const SECRET: &str = "STRIPE_WEBHOOK_SECRET";

/// The time for requests and handlers in flight after SIGTERM. The worker then has 5 s more to
/// record the end. The process must be killed later: `TimeoutStopSec` of systemd, `--stop-timeout`
/// of Docker.
const GRACE: Duration = Duration::from_secs(20);

/// Receives Stripe's events at `POST /webhook`.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Options {
    /// The address to listen on.
    #[arg(long, env, default_value = "127.0.0.1:4242")]
    listen: SocketAddr,

    /// The SQLite file with the inbox and the payments.
    #[arg(long, env = "EVENT_ROUTER_INBOX", default_value = "sqlite:inbox.db")]
    inbox: String,

    /// Ask the running server if it is ready, print its answer, and exit with 0 if it is.
    #[arg(long)]
    health: bool,

    /// Print the handlers as JSON for `event-router doctor --routes`, and exit.
    #[arg(long)]
    routes: bool,
}

const AFTER_HELP: &str = "\
Environment:
  STRIPE_WEBHOOK_SECRET  the endpoint's signing secret, `whsec_…`; without it, the server uses
                         the development secret, and listens only on loopback addresses
  RUST_LOG               the log filter, such as `debug`; default: `info`";

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let result = if options.health {
        check_health(options.listen)
    } else {
        serve(&options).await
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", ErrorChain::new(&*error).text());
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: &Options) -> Result<(), BoxError> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter.from_env()?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let secrets = secrets(options.listen)?;

    let store = SqliteStore::open(&options.inbox).await?;
    let pool = open_pool(&options.inbox).await?;
    my_shop::payments::create_table(&pool).await?;
    let router = Router::builder()
        .plugins([my_shop::PLUGIN])
        .endpoints(secrets.endpoints())
        .delivered_by(&store)
        .build()?;
    if options.routes {
        println!("{}", serde_json::to_string(router.routes())?);
        return Ok(());
    }
    tracing::info!("routes:\n{}", router.routes());
    let inbox = Inbox::new(store, router.clone());
    let worker = inbox.worker(router).shutdown_grace(GRACE);

    let health = HealthEndpoint::new()
        .check(inbox.health())
        .check(worker.health());
    let app = axum::Router::new()
        .route_service("/webhook", Endpoint::new(secrets, inbox))
        .route_service("/healthz", health.clone())
        .route_service("/readyz", health)
        .merge(my_shop::payments::routes(pool));

    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| format!("cannot listen on {} (--listen): {error}", options.listen))?;
    let shutdown = shutdown_signal()?;
    let worker_lost = worker.health().lost();
    let worker = tokio::spawn(worker.run(shutdown.clone()));
    tracing::info!("listening on http://{}/webhook", listener.local_addr()?);
    // If the worker is lost, the process ends with an error, so that it is restarted.
    let stop = async {
        tokio::select! { () = shutdown => {}, () = worker_lost => {} }
    };
    Server::new(app)
        .shutdown_grace(GRACE)
        .serve(listener, stop)
        .await;
    Ok(worker.await?)
}

/// Reads the signing secrets. Without one, returns the development secret, with which
/// `event-router send` signs, if no other machine can reach the server.
fn secrets(listen: SocketAddr) -> Result<Secrets, BoxError> {
    if std::env::var_os(SECRET).is_some() {
        Ok(Secrets::from_env(SECRET)?)
    } else if listen.ip().is_loopback() {
        tracing::warn!("{SECRET} is not set: accepting only events of `event-router send`");
        Ok(SigningSecret::development()?.into())
    } else {
        let advice = "set it to the endpoint's `whsec_…`, or listen on 127.0.0.1";
        Err(format!("{SECRET} is not set, and other machines can reach {listen}: {advice}").into())
    }
}

/// Opens the file of the inbox for the application's own queries.
async fn open_pool(url: &str) -> Result<SqlitePool, BoxError> {
    let options = SqliteConnectOptions::from_str(url)?
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(15)); // longer than a handler's transaction
    Ok(SqlitePool::connect_with(options).await?)
}

/// Prints the answer of `/readyz`, for health checks in containers that have no curl.
fn check_health(listen: SocketAddr) -> Result<(), BoxError> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, listen.port());
    let response = request_readyz(address)
        .map_err(|error| format!("no answer from {address} (--listen): {error}"))?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    println!("{body}");
    match head.starts_with("HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err("the server is not ready".into()),
    }
}

fn request_readyz(address: SocketAddr) -> io::Result<String> {
    let timeout = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}
