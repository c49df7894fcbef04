//! What an operator's tools are given: metrics, spans and log lines.

#[path = "../exchange/mod.rs"]
mod exchange;
#[path = "../held/mod.rs"]
mod held;

mod event_metrics;
mod every_path;
mod metered;
mod refusals;
mod request_metrics;
mod secrecy;
mod spans;
mod traced;

use router_core::{
    BoxError, DeadLetter, DeadLetters, Endpoint, Event, Failure, Object, Outcome, Router,
    RouterBuilder, on_event, on_unhandled, testing::ManualClock,
};
use router_tests::{now, secret};
use serde::Deserialize;

/// An endpoint over what is built, at the time of the tests.
fn endpoint(builder: RouterBuilder) -> Endpoint<Router> {
    let router = builder.clock(ManualClock::at(now())).build().expect("it is correct");
    Endpoint::new(secret(), router).clock(ManualClock::at(now()))
}

/// Handlers that do what handlers can do, each for an event type of its own.
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

/// What no object is.
#[derive(Deserialize)]
struct Unfit {
    #[serde(rename = "id")]
    _id: u64,
}

#[on_event("invoice.updated", name = "unfit")]
async fn unfit(_: Object<Unfit>) {}

#[on_event("charge.updated", name = "in_a_thread", blocking)]
fn in_a_thread(_: Event) {
    // A span of the user's own.
    tracing::info_span!("mine").in_scope(|| tracing::info!("blocking"));
}

/// What nobody tries again.
#[on_unhandled(name = "fallback")]
async fn fallback(_: Event) -> Result<(), Failure> {
    Err(Failure::retry("nobody reads this"))
}

/// A sink that takes the dead letters of all handlers but `fallback`.
struct Picky;

#[async_trait::async_trait]
impl DeadLetters for Picky {
    async fn store(&self, letter: &DeadLetter<'_>) -> Result<(), BoxError> {
        if letter.handler == "fallback" { Err("disk full".into()) } else { Ok(()) }
    }
}

/// A sink that takes nothing.
struct Full;

#[async_trait::async_trait]
impl DeadLetters for Full {
    async fn store(&self, _: &DeadLetter<'_>) -> Result<(), BoxError> {
        Err("disk full".into())
    }
}
