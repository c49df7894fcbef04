//! A shop that exports its traces with OTLP. The test runs it as two processes: one stores events,
//! and the other runs the handler, which fails at its first attempt.
//!
//! `traced-shop receive URL` prints the address of its endpoint, and stops on SIGTERM.
//! `traced-shop work URL` stops once the handler has succeeded. The exporter's settings come from
//! OpenTelemetry's standard environment variables.

use std::sync::Arc;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;
use router_core::{
    BoxError, Endpoint, Router, SigningSecret, State,
    extract::Attempt,
    on_event,
    server::{Server, shutdown_signal},
};
use router_inbox::{Inbox, SqliteStore};
use tokio::{net::TcpListener, sync::Notify};
use tracing_subscriber::layer::SubscriberExt as _;

#[on_event("invoice.paid", name = "shop.fulfil", retry(backoff = "10ms"))]
async fn fulfil(attempt: Attempt, done: State<Notify>) -> Result<(), BoxError> {
    if attempt.number() == 1 {
        return Err("the warehouse is closed".into());
    }
    done.notify_one();
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let (Some(role), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: traced-shop (receive | work) URL".into());
    };
    // The CLI, which is built with the same features, chooses the provider of rustls itself.
    drop(rustls::crypto::ring::default_provider().install_default());
    // The exporter sends from a thread of its own, which must not block tokio's runtime.
    let exporter = SpanExporter::builder().with_http().build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("traced-shop"));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
    tokio::runtime::Runtime::new()?.block_on(run(&role, &url))?;
    provider.shutdown()?;
    Ok(())
}

async fn run(role: &str, url: &str) -> Result<(), BoxError> {
    let store = SqliteStore::open(url).await?;
    let done = Arc::new(Notify::new());
    let router = Router::builder().shared_state(done.clone()).delivered_by(&store).build()?;
    let inbox = Inbox::new(store, router.clone());
    if role == "work" {
        inbox.worker(router).run(done.notified()).await;
        return Ok(());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let endpoint = Endpoint::new(SigningSecret::new("whsec_of_the_traces")?, inbox);
    Server::new(endpoint).serve(listener, shutdown_signal()?).await;
    Ok(())
}
