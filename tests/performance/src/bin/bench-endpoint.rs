//! Serves an endpoint with a router and one handler. Environment variables:
//!
//! - `PORT`: the port, by default any free one
//! - `STRIPE_WEBHOOK_SECRET`: the signing secret, by default that of the benchmarks
//! - `HANDLER`: `field` decodes a field (the default), `event` takes the event, `wait` never
//!   finishes
//! - `THREADS`: the number of threads, 1 by default
//! - `RUST_LOG`: the log filter for stderr, by default `info`, as in the hyper example

use std::{env, error::Error};

use router_core::{
    Endpoint, SigningSecret,
    server::{Server, shutdown_signal},
};
use router_performance::{SECRET, event_router, field_router, pending_router, port, runtime};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

fn main() -> Result<(), Box<dyn Error>> {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let secret = env::var("STRIPE_WEBHOOK_SECRET").unwrap_or_else(|_| SECRET.to_owned());
    let router = match env::var("HANDLER").as_deref() {
        Ok("event") => event_router(),
        Ok("wait") => pending_router(),
        _ => field_router(),
    };
    runtime()?.block_on(async {
        let endpoint = Endpoint::new(SigningSecret::new(&secret)?, router);
        let listener = TcpListener::bind(("127.0.0.1", port())).await?;
        println!("listening on {}", listener.local_addr()?);
        Server::new(endpoint).serve(listener, shutdown_signal()?).await;
        Ok(())
    })
}
