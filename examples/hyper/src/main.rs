//! The default `cargo run`: a webhook server on hyper, with the handlers of the `handlers` crate.

mod backend;
mod banner;
mod metrics;
mod options;

use std::{error::Error, io::IsTerminal as _, process::ExitCode, time::Duration};

use clap::Parser as _;
use http::{Method, Request, StatusCode};
use router_core::{
    Endpoint, Router, Secrets, SigningSecret,
    endpoint::Response,
    handler::ErrorChain,
    server::{Server, shutdown_signal},
};
use tokio::net::TcpListener;
use tower::{Service as _, service_fn};
use tracing_subscriber::EnvFilter;

use crate::{backend::Backend, metrics::Metrics, options::Options};

/// The time that requests in flight have to finish after the signal to shut down. The worker's
/// grace period for deliveries begins at the same time and has the same length.
const REQUEST_GRACE: Duration = Duration::from_secs(20);

/// The time for the whole shutdown. Kubernetes kills a process after 30 s.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(25);

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // The inbox logs connection changes itself, so the NATS client's log is limited to warnings.
    let default_filter = "info,async_nats=warn";
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| default_filter.into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", ErrorChain::new(&*error).text());
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let (secrets, secret_was_given) = match options.secrets() {
        Some(secrets) => {
            (secrets.map_err(|error| format!("STRIPE_WEBHOOK_SECRET or --secret: {error}"))?, true)
        }
        None if options.listen.ip().is_loopback() => {
            (Secrets::from(SigningSecret::development()?), false)
        }
        None => {
            return Err(format!(
                "no signing secret was given, and {} can be reached from other machines: set \
                 STRIPE_WEBHOOK_SECRET to the endpoint's `whsec_…`, or listen on 127.0.0.1",
                options.listen
            )
            .into());
        }
    };

    let inbox = options.inbox()?;
    let metrics = match options.metrics_listen {
        Some(address) => Some(Metrics::start(address).await?),
        None => None,
    };
    let router = Router::builder().plugins([handlers::PLUGIN]).endpoints(secrets.endpoints());
    let shutdown = shutdown_signal()?;
    let backend = Backend::start(router, &inbox, shutdown.clone()).await?;
    let endpoint = Endpoint::new(secrets, backend.service.clone()).tolerance(options.tolerance);
    let service = service_fn(move |request: Request<_>| {
        let mut endpoint = endpoint.clone();
        async move {
            match (request.method(), request.uri().path()) {
                (_, "/webhook") => endpoint.call(request).await,
                (&Method::GET | &Method::HEAD, "/healthz") => Ok(text(StatusCode::OK, "ok\n")),
                _ => Ok(text(StatusCode::NOT_FOUND, "not found; events go to /webhook\n")),
            }
        }
    });

    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; choose another address with `--listen`",
            options.listen
        )
    })?;
    let metrics_address = metrics.as_ref().map(|metrics| metrics.address);
    banner::print(&backend, &inbox, listener.local_addr()?, metrics_address, secret_was_given);

    let shutdown_limit = shutdown.grace_period(SHUTDOWN_LIMIT);
    let serving = async {
        Server::new(service).shutdown_grace(REQUEST_GRACE).serve(listener, shutdown).await;
        backend.stop().await;
        // Last, so that the metrics are available during the shutdown.
        if let Some(metrics) = metrics {
            metrics.stop().await;
        }
    };
    tokio::select! {
        () = serving => {}
        () = shutdown_limit => tracing::error!(
            "still not shut down after {SHUTDOWN_LIMIT:?}; exiting; interrupted handlers will run \
             again"
        ),
    }
    Ok(())
}

fn text(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
}
