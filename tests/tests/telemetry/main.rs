//! Tests of the telemetry of endpoint and router: metrics, spans and log lines. A program of
//! its own, because it installs a subscriber that records spans.

mod event_metrics;
mod every_path;
mod metrics_recorder;
mod metrics_table;
mod observability;
mod refusals;
mod request_metrics;
mod secrecy;
mod spans;
mod trace;

use router_core::{
    BoxError, Endpoint, Event, Failure, Object, Outcome, Router,
    build::RouterBuilder,
    dead_letters::{DeadLetter, DeadLetters},
    on_event, on_unhandled,
    testing::ManualClock,
};
use router_tests::{now, secret};
use serde::Deserialize;

/// Builds the router and returns its endpoint; the clocks of both are at `NOW`.
fn endpoint(builder: RouterBuilder) -> Endpoint<Router> {
    let router = builder.clock(ManualClock::at(now())).build().expect("router is valid");
    Endpoint::new(secret(), router).clock(ManualClock::at(now()))
}

/// Returns a builder with a handler for each outcome, each for its own event type.
fn handlers() -> RouterBuilder {
    let builder = Router::builder()
        .without_linked()
        .handler("done", ["invoice.paid"], async |_: Event| {})
        .handler("ignored", ["invoice.sent"], async |_: Event| Outcome::ignored("not ours"))
        .handler("later", ["invoice.voided"], async |_: Event| {
            Err::<(), _>(Unreachable { source: "connection refused".into() })
        })
        .handler("never", ["invoice.deleted"], async |_: Event| {
            Err::<(), _>(Failure::permanent("no such order"))
        })
        .handler("panics", ["invoice.created"], panics);
    builder.add::<unfit>().add::<in_a_thread>()
}

/// An error with a cause.
#[derive(Debug)]
struct Unreachable {
    source: BoxError,
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the warehouse is unreachable")
    }
}

impl std::error::Error for Unreachable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

async fn panics(_: Event) {
    panic!("a bug")
}

/// A type into which no object of these tests deserializes.
#[derive(Deserialize)]
struct Unfit {
    #[serde(rename = "id")]
    _id: u64,
}

#[on_event("invoice.updated", name = "unfit")]
async fn unfit(_: Object<Unfit>) {}

#[on_event("charge.updated", name = "in_a_thread", blocking)]
fn in_a_thread(_: Event) {
    // The application opens this span itself.
    tracing::info_span!("mine").in_scope(|| tracing::info!("blocking"));
}

/// Fails transiently, although Stripe does not redeliver unhandled events.
#[on_unhandled(name = "fallback")]
async fn fallback(_: Event) -> Result<(), Failure> {
    Err(Failure::retry("the queue is full"))
}

/// A sink that refuses the dead letters of the handler `fallback`.
struct FallbackRefusingSink;

#[async_trait::async_trait]
impl DeadLetters for FallbackRefusingSink {
    async fn store(&self, letter: &DeadLetter<'_>) -> Result<(), BoxError> {
        if letter.handler == "fallback" { Err("disk full".into()) } else { Ok(()) }
    }
}

/// A sink that refuses every dead letter.
struct RefusingSink;

#[async_trait::async_trait]
impl DeadLetters for RefusingSink {
    async fn store(&self, _: &DeadLetter<'_>) -> Result<(), BoxError> {
        Err("disk full".into())
    }
}
