//! The answer to Stripe for each result of a handler, through HTTP. Two neighbor handlers must not
//! be affected.

use std::{future::pending, io, time::Duration};

use http::{HeaderValue, Response};
use router_core::{
    BoxError, Endpoint, Event, Failure, FailureExt as _, Object, Outcome, Reply, Router,
    build::Registered,
    endpoint::Refusal,
    handler::{HandlerReport, Later, Report},
    on_event,
    testing::ManualClock,
};
use router_tests::{
    exchange::{post, send},
    held::Held,
    logged::{log, logged},
    now, payload, secret,
};

use tracing_subscriber::filter::LevelFilter;

const PAID: &str = "invoice.paid";

fn busy() -> Result<(), io::Error> {
    Err(io::Error::new(io::ErrorKind::WouldBlock, "the database is busy"))
}

#[on_event("invoice.paid", name = "tested")]
async fn unit(_: Event) {}

#[on_event("invoice.paid", name = "tested")]
fn unit_sync(_: Event) {}

#[on_event("invoice.paid", name = "tested")]
async fn ok(_: Event) -> Result<(), BoxError> {
    Ok(())
}

#[on_event("invoice.paid", name = "tested")]
async fn done(_: Event) -> Outcome {
    Outcome::Done
}

#[on_event("invoice.paid", name = "tested")]
async fn ignored(_: Event) -> Result<Outcome, io::Error> {
    Ok(Outcome::ignored("not ours"))
}

#[on_event("invoice.paid", name = "tested")]
async fn later(_: Event) -> Outcome {
    Outcome::later(Duration::from_secs(90))
}

#[on_event("invoice.paid", name = "tested")]
async fn later_because(_: Event) -> Result<Later, io::Error> {
    Ok(Later::after(Duration::from_millis(1_500)).because("the rate limit is exhausted"))
}

#[on_event("invoice.paid", name = "tested")]
async fn error(_: Event) -> Result<(), io::Error> {
    busy()
}

#[on_event("invoice.paid", name = "tested")]
async fn error_by_question_mark(_: Event) -> Result<Outcome, Failure> {
    busy()?;
    Ok(Outcome::Done)
}

#[on_event("invoice.paid", name = "tested")]
async fn retry_in(_: Event) -> Result<(), Failure> {
    busy().or_retry_in(Duration::from_secs(90))
}

#[on_event("invoice.paid", name = "tested")]
async fn permanent(_: Event) -> Result<(), Failure> {
    busy().or_permanent()
}

#[derive(serde::Deserialize)]
struct Invoice {
    #[expect(dead_code, reason = "only its absence matters")]
    customer: String,
}

#[on_event("invoice.paid", name = "tested")]
async fn undecodable(_: Object<Invoice>) {}

#[on_event("invoice.paid", name = "tested")]
async fn replies(_: Event) -> Reply<[u8; 2]> {
    Reply([1, 2])
}

#[on_event("invoice.paid", name = "tested")]
async fn panics(_: Event) {
    tokio::task::yield_now().await;
    panic!("a bug")
}

#[on_event("invoice.paid", name = "tested")]
fn panics_sync(_: Event) {
    panic!("a bug")
}

#[on_event("invoice.paid", name = "tested", blocking)]
fn panics_blocking(_: Event) {
    panic!("a bug")
}

#[on_event("invoice.paid", name = "tested", timeout = "3s")]
async fn hangs(_: Event) {
    pending::<()>().await;
}

/// The expected status, outcome, `Retry-After` and error text. The outcome `timeout` is a `retry`
/// after the handler's timeout.
type Expected = (u16, &'static str, Option<&'static str>, &'static str);

async fn assert_answer<H: Registered>((status, outcome, retry_after, error): Expected) {
    let clock = ManualClock::at(now());
    let router = Router::builder()
        .only::<H>()
        .handler("a.neighbor", ["*"], async |_: Event| {})
        .handler("z.neighbor", ["*"], async |_: Event| {})
        .clock(clock.clone())
        .build()
        .expect("the router is valid");
    let endpoint = Endpoint::new(secret(), router.clone()).clock(ManualClock::at(now()));
    let mut answer = std::pin::pin!(send(endpoint, post(payload(PAID))));
    let response: Response<String> = tokio::select! {
        biased;
        response = &mut answer => response,
        () = clock.wait_for_sleeper(), if outcome == "timeout" => {
            clock.advance(Duration::from_secs(3));
            answer.await
        }
    };
    let outcome = if outcome == "timeout" { "retry" } else { outcome };
    let name = std::any::type_name::<H>();
    assert_eq!(response.status(), status, "{name}");
    let wait = response.headers().get("retry-after");
    assert_eq!(wait, retry_after.map(HeaderValue::from_static).as_ref(), "{name}");

    let report: &Report = response.extensions().get().expect("the response has a report");
    let handler = report.handler("tested").expect("the handler was called");
    assert_eq!((handler.outcome(), handler.attempts()), (outcome, 1), "{name}");
    let error_text = handler.result().err().map(ToString::to_string).unwrap_or_default();
    assert_eq!(error_text, error, "{name}");
    match report.reply() {
        Some(_) => assert_eq!(response.body(), "[1,2]", "the body is the reply"),
        None => {
            let neighbors = ["a.neighbor", "z.neighbor"].map(|name| report.handler(name));
            assert!(
                neighbors.iter().all(|handler| handler.is_some_and(HandlerReport::is_done)),
                "{name}"
            );
            assert!(response.body().contains(outcome), "{}", response.body());
            assert!(!response.body().contains("rate limit"), "{}", response.body());
            assert!(error.is_empty() || !response.body().contains(error), "{}", response.body());
        }
    }
    // No handler continues, and the router still works.
    router.close();
    router.drained().await;
}

#[tokio::test]
async fn handler_result_determines_answer() {
    const BUSY: &str = "the database is busy";
    assert_answer::<unit>((200, "done", None, "")).await;
    assert_answer::<unit_sync>((200, "done", None, "")).await;
    assert_answer::<ok>((200, "done", None, "")).await;
    assert_answer::<done>((200, "done", None, "")).await;
    assert_answer::<ignored>((200, "ignored", None, "")).await;
    assert_answer::<later>((500, "later", Some("90"), "")).await;
    assert_answer::<later_because>((500, "later", Some("2"), "")).await;
    assert_answer::<error>((500, "retry", None, BUSY)).await;
    assert_answer::<error_by_question_mark>((500, "retry", None, BUSY)).await;
    assert_answer::<retry_in>((500, "retry", Some("90"), BUSY)).await;
    assert_answer::<permanent>((200, "dead", None, BUSY)).await;
    let missing_field = "cannot extract the argument `Object<Invoice>`: `data.object` does not decode: missing field `customer`";
    assert_answer::<undecodable>((200, "dead", None, missing_field)).await;
    assert_answer::<replies>((200, "done", None, "")).await;
    let panic_text = "the handler panicked: a bug";
    assert_answer::<panics>((500, "retry", None, panic_text)).await;
    assert_answer::<panics_sync>((500, "retry", None, panic_text)).await;
    assert_answer::<panics_blocking>((500, "retry", None, panic_text)).await;
    assert_answer::<hangs>((500, "timeout", None, "the handler did not finish within 3s")).await;
}

/// A handler that runs later is not recorded as an attempt, and runs in the next delivery.
#[tokio::test]
async fn later_is_no_attempt() {
    let router = Router::builder().only::<later>().build().unwrap();
    let endpoint = Endpoint::new(secret(), router).clock(ManualClock::at(now()));
    for _ in 0..3 {
        let response = send(endpoint.clone(), post(payload(PAID))).await;
        let report: &Report = response.extensions().get().unwrap();
        assert_eq!((report.outcome(), report.handlers()[0].attempts()), ("retry", 1));
        assert!(!report.has_dead_letters());
    }
}

#[on_event("*", name = "replies", order = -1)]
async fn replies_first(_: Event) -> Reply<u8> {
    Reply(1)
}

/// Stripe has its answer and will not redeliver the event, so it must not get lost.
#[tokio::test]
async fn later_after_the_answer_is_a_dead_letter() {
    log(LevelFilter::WARN);
    let router = Router::builder().only::<replies_first>().only::<later_because>();
    let router = router.build().unwrap();
    let endpoint = Endpoint::new(secret(), router.clone()).clock(ManualClock::at(now()));
    assert_eq!(send(endpoint, post(payload(PAID))).await.status(), 200);
    router.close();
    router.drained().await;
    let log = logged();
    let expected = "the handler asked to run later, but Stripe will not redeliver the event: \
                    the rate limit is exhausted";
    assert!(log.starts_with(" ERROR") || log.starts_with("ERROR"), "{log}");
    assert!(log.contains("dead letter") && log.contains(expected), "{log}");
}

#[tokio::test]
async fn endpoint_timeout_answers_503_and_event_continues() {
    let (held, mut progress) = Held::new();
    let router = Router::builder().without_linked().handler("held", [PAID], held.clone()).build();
    let clock = ManualClock::at(now());
    let endpoint = Endpoint::new(secret(), router.unwrap()).clock(clock.clone());
    let endpoint = endpoint.timeout(Duration::from_secs(8));
    let (timed_out, ()) = tokio::join!(send(endpoint.clone(), post(payload(PAID))), async {
        assert_eq!(progress.recv().await, Some("begun"));
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(8));
    });
    assert_eq!(timed_out.status(), 503);
    assert_eq!(timed_out.headers()["retry-after"], "10");
    assert_eq!(timed_out.body(), r#"{"error":"try again later"}"#);
    let refusal: &Refusal = timed_out.extensions().get().unwrap();
    assert_eq!(
        refusal.to_string(),
        "the event was not handled within 8s; `Endpoint::timeout` sets this limit"
    );
    // A duplicate waits for the running handler and gets its answer.
    held.release();
    assert_eq!(send(endpoint, post(payload(PAID))).await.status(), 200);
    assert_eq!(progress.recv().await, Some("done"));
    assert!(progress.try_recv().is_err(), "the handler ran more than once");
}
