//! tower's own layers at both seams, around the router and around the endpoint:
//! `STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p example-middleware`.
//!
//! **Around the router** they see verified events: here belongs what limits the work. A concurrency
//! limit here counts events. Around the endpoint the same limit would count requests, which anybody
//! can send: a few that nobody signed, and whose bodies never end, would hold every permit. The
//! endpoint waits for the service behind it only once a request is verified. What these layers refuse
//! (overloaded, timed out) it answers with 503 and `Retry-After`, and Stripe sends the event again.
//!
//! **Around the endpoint** they see requests, which mostly nobody may have signed: here belongs what
//! looks at HTTP, and what keeps the process alive. The endpoint never fails and a server asks that of
//! the whole, so what these layers refuse is made a response.
//!
//! A timeout ends the wait for the answer, not the handlers: those that have begun go on, and no longer
//! count in the limit. So let it be longer than `RouterBuilder::handler_timeout` (20 s), which does
//! end them.

use std::{convert::Infallible, error::Error, time::Duration};

use router_core::{
    BoxError, Endpoint, Event, Refusal, Report, Response, Router, Secrets,
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
            tracing::info!(id = event.id(), r#type = event.event_type(), "taken");
            event
        })
        .map_response(|report: Report| {
            tracing::info!(id = report.event().id(), again = report.needs_retry(), "answered");
            report
        })
        // Outside the limit: who would have to wait for a permit is refused at once.
        .load_shed()
        // A service's clones share its permits; a layer applied twice makes two limits.
        .concurrency_limit(64)
        .timeout(Duration::from_secs(25))
        .service(router.clone());
    let endpoint = Endpoint::new(Secrets::from_env("STRIPE_WEBHOOK_SECRET")?, events);

    let requests = ServiceBuilder::new()
        // Large: it is for the memory of so many bodies, not for the work behind them.
        .load_shed()
        .concurrency_limit(4096)
        .service(endpoint);
    let requests = service_fn(move |request| {
        let answer = requests.clone().oneshot(request);
        async { Ok::<_, Infallible>(answer.await.unwrap_or_else(refused)) }
    });
    let traced = ServiceBuilder::new().layer(TraceLayer::new_for_http()).service(requests);

    let listener = TcpListener::bind("127.0.0.1:4242").await?;
    println!("listening on http://{}/webhook", listener.local_addr()?);
    Server::new(traced).serve(listener, shutdown_signal()?).await;

    // Handlers whose client hung up, or whose answer timed out, may still run.
    router.close();
    router.drained().await;
    Ok(())
}

/// What the endpoint itself answers where the service behind it fails: 503, with `Retry-After`.
fn refused(error: BoxError) -> Response {
    tracing::error!(%error, "request refused");
    Refusal::unavailable(error).into()
}
