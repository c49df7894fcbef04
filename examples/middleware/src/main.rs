//! tower layers in both places, around the router and around the endpoint:
//! `STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p example-middleware`.
//!
//! Layers **around the router** receive verified events, so limits on work belong here. A
//! concurrency limit around the endpoint would count requests instead: anyone could exhaust its
//! permits with a few unsigned requests whose bodies never end. The endpoint calls the inner
//! service only after it has verified a request. If these layers reject an event (overloaded, timed
//! out), the endpoint answers 503 with `Retry-After`, and Stripe redelivers the event.
//!
//! Layers **around the endpoint** receive all requests, signed or not. HTTP layers and limits that
//! protect the process belong here. The server requires an infallible service, as the endpoint is,
//! so the errors of these layers are converted into responses.
//!
//! A timeout around the router ends the wait for the answer, not the handlers. Handlers in flight
//! continue and no longer count toward the concurrency limit. Make the timeout longer than
//! `RouterBuilder::handler_timeout` (20 s), which does cancel them.

use std::{convert::Infallible, env, error::Error, time::Duration};

use router_core::{
    BoxError, Endpoint, Event, Router, Secrets,
    endpoint::{Refusal, Response},
    handler::Report,
    server::{Server, shutdown_signal},
};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::trace::TraceLayer;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter(EnvFilter::new("info,tower_http=debug")).init();

    let router = Router::builder().plugins([handlers::PLUGIN]).build()?;
    print!("{}", router.routes());

    let events = ServiceBuilder::new()
        .map_request(|event: Event| {
            tracing::info!(id = event.id(), r#type = event.event_type(), "received");
            event
        })
        .map_response(|report: Report| {
            tracing::info!(id = report.event().id(), retry = report.needs_retry(), "answered");
            report
        })
        // Outside the limit, so that an event is rejected instead of waiting for a permit.
        .load_shed()
        // Clones of the service share the permits; applying the layer twice would create two
        // limits.
        .concurrency_limit(64)
        .timeout(Duration::from_secs(25))
        .service(router.clone());
    let endpoint = Endpoint::new(Secrets::from_env("STRIPE_WEBHOOK_SECRET")?, events);

    let requests = ServiceBuilder::new()
        // A high limit: `Endpoint::body_budget` already bounds the memory for bodies.
        .load_shed()
        .concurrency_limit(4096)
        .service(endpoint);
    let requests = service_fn(move |request| {
        let response = requests.clone().oneshot(request);
        async { Ok::<_, Infallible>(response.await.unwrap_or_else(unavailable)) }
    });
    let traced = ServiceBuilder::new().layer(TraceLayer::new_for_http()).service(requests);

    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:4242".into());
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}/webhook", listener.local_addr()?);
    let shutdown = shutdown_signal()?;
    // Less than the 30 s after which Kubernetes kills a process.
    let shutdown_limit = shutdown.grace_period(Duration::from_secs(25));
    let serving = async {
        Server::new(traced).shutdown_grace(Duration::from_secs(20)).serve(listener, shutdown).await;
        // Handlers may still be running after a client disconnected or an answer timed out.
        router.close();
        router.drained().await;
    };
    tokio::select! {
        () = serving => Ok(()),
        () = shutdown_limit => Err("handlers are still running after 25 s".into()),
    }
}

/// Converts an error of the outer layers into the endpoint's own answer to a failing inner service:
/// 503 with `Retry-After`.
fn unavailable(error: BoxError) -> Response {
    tracing::error!(%error, "request refused");
    Refusal::unavailable(error).into()
}
