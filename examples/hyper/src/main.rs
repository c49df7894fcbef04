//! The default `cargo run`: a webhook server on hyper, with the handlers of the crates in
//! `handlers/`.

mod backend;
mod banner;
mod internal;
mod options;
mod shop_page;
mod shop_setup;

use std::{error::Error, io::IsTerminal as _, process::ExitCode, time::Duration};

use clap::Parser as _;
use http::{Request, StatusCode};
use router_core::{
    Endpoint, Router, Secrets, SigningSecret,
    clock::{Clock as _, SystemClock},
    endpoint::Response,
    handler::ErrorChain,
    server::{Server, shutdown_signal},
};
use tokio::net::TcpListener;
use tower::{Service as _, service_fn};
use tracing_subscriber::EnvFilter;

use crate::{
    backend::Backend,
    internal::{InternalListener, InternalServer},
    options::Options,
};

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
    // Both before the worker starts, so that it claims nothing if an address is in use.
    let internal = InternalListener::bind(options.internal_listen).await?;
    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; choose another address with `--listen`",
            options.listen
        )
    })?;
    let router = Router::builder().plugins([handlers::PLUGIN]).endpoints(secrets.endpoints());
    let backend = Backend::start(router, &inbox, &options.mail, shutdown_signal()?).await?;
    let endpoint = Endpoint::new(secrets, backend.service.clone()).tolerance(options.tolerance);

    let internal = internal.serve(&backend)?;
    banner::print(&backend, &inbox, listener.local_addr()?, internal.address, secret_was_given);

    serve(listener, endpoint, backend, internal).await
}

/// Serves until the signal to shut down, or until the worker ends without it.
///
/// # Errors
///
/// Fails if the worker has ended without the signal.
async fn serve(
    listener: TcpListener,
    endpoint: Endpoint<backend::Service>,
    backend: Backend,
    internal: InternalServer,
) -> Result<(), Box<dyn Error>> {
    let health = backend.health.clone();
    let is_worker_lost = {
        let health = health.clone();
        async move || {
            let reasons = health.readiness().await.reasons;
            reasons.iter().any(|reason| reason.code == "worker_lost")
        }
    };
    let service = service_fn(move |request: Request<_>| {
        let (mut endpoint, mut health) = (endpoint.clone(), health.clone());
        async move {
            match request.uri().path() {
                "/webhook" => endpoint.call(request).await,
                "/healthz" | "/readyz" => health.call(request).await,
                _ => Ok(not_found()),
            }
        }
    });
    let must_stop = backend.must_stop();
    let shutdown_limit = {
        let must_stop = backend.must_stop();
        async {
            must_stop.await;
            SystemClock.sleep(SHUTDOWN_LIMIT).await;
        }
    };
    let serving = async {
        Server::new(service).shutdown_grace(REQUEST_GRACE).serve(listener, must_stop).await;
        let stopped = backend.stop().await;
        // Last, so that the metrics are available during the shutdown.
        internal.stop().await;
        stopped
    };
    tokio::select! {
        stopped = serving => Ok(stopped.map_err(|error| {
            format!("the worker has ended, and stored events wait for the next start: {error}")
        })?),
        () = shutdown_limit => {
            tracing::error!(
                "still not shut down after {SHUTDOWN_LIMIT:?}; exiting; interrupted handlers will \
                 run again"
            );
            match is_worker_lost().await {
                true => Err("the worker has ended, and stored events wait for the next start".into()),
                false => Ok(()),
            }
        }
    }
}

fn not_found() -> Response {
    let mut response = Response::new("not found; events go to /webhook\n".into());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::InboxUrl;

    /// An orchestrator then restarts the process, which would otherwise store events and never
    /// handle them.
    #[tokio::test]
    async fn lost_worker_ends_the_server_with_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let inbox = InboxUrl::Sqlite(format!("sqlite:{}/inbox.db", folder.path().display()));
        let mail = format!("--outbox={}", folder.path().display());
        let mail = Options::parse_from(["hyper", &mail]).mail;
        let internal = InternalListener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let router = Router::builder().plugins([handlers::PLUGIN]);
        let shutdown = shutdown_signal().unwrap();
        let backend = Backend::start(router, &inbox, &mail, shutdown).await.unwrap();
        let internal = internal.serve(&backend).unwrap();
        let health = backend.health.clone();
        assert!(health.readiness().await.is_ready());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let secret = SigningSecret::new("whsec_test").unwrap();
        let endpoint = Endpoint::new(secret, backend.service.clone());
        backend.abort_worker();
        let error = serve(listener, endpoint, backend, internal).await.unwrap_err().to_string();
        assert!(error.starts_with("the worker has ended, and stored events wait"), "{error}");
        assert_eq!(health.readiness().await.reasons[0].code, "worker_lost");
    }
}
