//! What a handler returns, what it does, and what Stripe is answered: each row of the table, through
//! HTTP, with a neighbour that must not mind.

use std::{future::pending, io, time::Duration};

use http::{HeaderValue, Response};
use router_core::{
    BoxError, Endpoint, Event, Failure, FailureExt as _, HandlerReport, Object, Outcome, Refusal,
    Registered, Reply, Report, Router, on_event, testing::ManualClock,
};
use router_tests::{now, payload, secret};

use crate::{
    exchange::{post, send},
    held::Held,
};

mod exchange;
mod held;

const PAID: &str = "invoice.paid";

fn busy() -> Result<(), io::Error> {
    Err(io::Error::new(io::ErrorKind::WouldBlock, "the database is busy"))
}

#[on_event("invoice.paid", name = "row")]
async fn nothing(_: Event) {}

#[on_event("invoice.paid", name = "row")]
fn plain(_: Event) {}

#[on_event("invoice.paid", name = "row")]
async fn ok(_: Event) -> Result<(), BoxError> {
    Ok(())
}

#[on_event("invoice.paid", name = "row")]
async fn done(_: Event) -> Outcome {
    Outcome::Done
}

#[on_event("invoice.paid", name = "row")]
async fn ignored(_: Event) -> Result<Outcome, io::Error> {
    Ok(Outcome::ignored("not ours"))
}

#[on_event("invoice.paid", name = "row")]
async fn error(_: Event) -> Result<(), io::Error> {
    busy()
}

#[on_event("invoice.paid", name = "row")]
async fn error_by_question_mark(_: Event) -> Result<Outcome, Failure> {
    busy()?;
    Ok(Outcome::Done)
}

#[on_event("invoice.paid", name = "row")]
async fn later(_: Event) -> Result<(), Failure> {
    busy().or_retry_in(Duration::from_secs(90))
}

#[on_event("invoice.paid", name = "row")]
async fn never(_: Event) -> Result<(), Failure> {
    busy().or_permanent()
}

#[derive(serde::Deserialize)]
struct Invoice {
    #[expect(dead_code, reason = "that it must be there is enough")]
    customer: String,
}

#[on_event("invoice.paid", name = "row")]
async fn undecodable(_: Object<Invoice>) {}

#[on_event("invoice.paid", name = "row")]
async fn replies(_: Event) -> Reply<[u8; 2]> {
    Reply([1, 2])
}

#[on_event("invoice.paid", name = "row")]
async fn panics(_: Event) {
    tokio::task::yield_now().await;
    panic!("a bug")
}

#[on_event("invoice.paid", name = "row")]
fn panics_plainly(_: Event) {
    panic!("a bug")
}

#[on_event("invoice.paid", name = "row", blocking)]
fn panics_in_a_thread(_: Event) {
    panic!("a bug")
}

#[on_event("invoice.paid", name = "row", timeout = "3s")]
async fn hangs(_: Event) {
    pending::<()>().await;
}

/// What Stripe is answered, and what is in the log: status, outcome, `Retry-After`, error.
type Row = (u16, &'static str, Option<&'static str>, &'static str);

async fn answers<H: Registered>((status, outcome, retry_after, error): Row) {
    let clock = ManualClock::at(now());
    let router = Router::builder()
        .only::<H>()
        .handler("a.neighbour", ["*"], async |_: Event| {})
        .handler("z.neighbour", ["*"], async |_: Event| {})
        .clock(clock.clone())
        .build()
        .expect("it is correct");
    let endpoint = Endpoint::new(secret(), router.clone()).clock(ManualClock::at(now()));
    let mut answer = std::pin::pin!(send(endpoint, post(payload(PAID))));
    let response: Response<String> = tokio::select! {
        biased;
        response = &mut answer => response,
        () = clock.wait_for_sleeper(), if outcome == "late" => {
            clock.advance(Duration::from_secs(3));
            answer.await
        }
    };
    let outcome = if outcome == "late" { "retry" } else { outcome };
    let name = std::any::type_name::<H>();
    assert_eq!(response.status(), status, "{name}");
    let wait = response.headers().get("retry-after");
    assert_eq!(wait, retry_after.map(HeaderValue::from_static).as_ref(), "{name}");

    let report: &Report = response.extensions().get().expect("it was handled");
    let handler = report.handler("row").expect("it has run");
    assert_eq!((handler.outcome(), handler.attempts()), (outcome, 1), "{name}");
    let told = handler.result().err().map(ToString::to_string).unwrap_or_default();
    assert_eq!(told, error, "{name}");
    match report.reply() {
        Some(_) => assert_eq!(response.body(), "[1,2]", "the others run after it"),
        None => {
            let neighbours = ["a.neighbour", "z.neighbour"].map(|name| report.handler(name));
            assert!(neighbours.iter().all(|one| one.is_some_and(HandlerReport::is_done)), "{name}");
            assert!(response.body().contains(outcome), "{}", response.body());
            assert!(error.is_empty() || !response.body().contains(error), "{}", response.body());
        }
    }
    // The process is unharmed, and nothing of it runs on.
    router.close();
    router.drained().await;
}

#[tokio::test]
async fn each_row_of_the_table() {
    const BUSY: &str = "the database is busy";
    answers::<nothing>((200, "done", None, "")).await;
    answers::<plain>((200, "done", None, "")).await;
    answers::<ok>((200, "done", None, "")).await;
    answers::<done>((200, "done", None, "")).await;
    answers::<ignored>((200, "ignored", None, "")).await;
    answers::<error>((500, "retry", None, BUSY)).await;
    answers::<error_by_question_mark>((500, "retry", None, BUSY)).await;
    answers::<later>((500, "retry", Some("90"), BUSY)).await;
    answers::<never>((200, "dead", None, BUSY)).await;
    let unfit = "`data.object` does not decode: missing field `customer`";
    answers::<undecodable>((200, "dead", None, unfit)).await;
    answers::<replies>((200, "done", None, "")).await;
    let bug = "the handler panicked: a bug";
    answers::<panics>((500, "retry", None, bug)).await;
    answers::<panics_plainly>((500, "retry", None, bug)).await;
    answers::<panics_in_a_thread>((500, "retry", None, bug)).await;
    answers::<hangs>((500, "late", None, "the handler did not finish within 3s")).await;
}

#[tokio::test]
async fn an_event_that_takes_too_long_is_answered_with_503_and_goes_on() {
    let (held, mut heard) = Held::new();
    let router = Router::builder().without_linked().handler("held", [PAID], held.clone()).build();
    let clock = ManualClock::at(now());
    let endpoint = Endpoint::new(secret(), router.unwrap()).clock(clock.clone());
    let endpoint = endpoint.timeout(Duration::from_secs(8));
    let (late, ()) = tokio::join!(send(endpoint.clone(), post(payload(PAID))), async {
        assert_eq!(heard.recv().await, Some("begun"));
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(8));
    });
    assert_eq!(late.status(), 503);
    assert_eq!(late.headers()["retry-after"], "10");
    assert_eq!(late.body(), r#"{"error":"try again later"}"#);
    let refusal: &Refusal = late.extensions().get().unwrap();
    assert_eq!(
        refusal.to_string(),
        "the event was not handled within 8s; `Endpoint::timeout` sets this limit"
    );
    // The next delivery waits for it, and gets its answer.
    held.release();
    assert_eq!(send(endpoint, post(payload(PAID))).await.status(), 200);
    assert_eq!(heard.recv().await, Some("done"));
    assert!(heard.try_recv().is_err(), "it ran once");
}
