//! Handlers that reply: the response to Stripe contains their answer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Response;
use router_core::{
    BoxError, Endpoint, Event, Failure, Object, Outcome, Reply, Router, State,
    build::{Registered, RouterBuilder},
    dead_letters::{DeadLetter, DeadLetters},
    handler::{Handler, HandlerResult, IntoOutcome as _, Report},
    on_event,
    testing::ManualClock,
};
use router_tests::{
    event,
    exchange::{post, send},
    held::Held,
    logged::{log, logged},
    now, payload, secret,
};
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;
use tracing_subscriber::filter::LevelFilter;

const REQUEST: &str = "issuing_authorization.request";

#[derive(Deserialize)]
struct Authorization {
    amount: i64,
}

#[derive(Serialize)]
struct Decision {
    approved: bool,
}

fn decline() -> Reply<Decision> {
    Reply(Decision { approved: false })
}

#[on_event("issuing_authorization.request", name = "z.authorize")]
async fn authorize(request: Object<Authorization>) -> Result<Reply<Decision>, BoxError> {
    Ok(Reply(Decision { approved: request.amount <= 2000 }))
}

/// Runs until its deadline.
#[on_event("issuing_authorization.request", name = "slow", deadline = "1s", default_reply = decline)]
async fn slow(_: Event) -> Reply<Decision> {
    std::future::pending().await
}

#[on_event("issuing_authorization.request", name = "failing", default_reply = decline)]
async fn failing(_: Event) -> Result<Reply<Decision>, Failure> {
    Err(Failure::retry("the ledger is down"))
}

#[on_event("issuing_authorization.request", name = "faulty", default_reply = decline)]
async fn faulty(_: Object<Authorization>, fault: State<Fault>) -> Result<Reply<Decision>, Failure> {
    fault()
}

type Fault = fn() -> Result<Reply<Decision>, Failure>;

#[on_event("issuing_authorization.request", name = "panicking", default_reply = panics)]
async fn panicking(_: Event) -> Reply<Decision> {
    panic!("a bug")
}

fn panics() -> Reply<Decision> {
    panic!("another bug")
}

#[derive(Clone, Default)]
struct StoredLetters(Arc<Mutex<Vec<String>>>);

#[async_trait::async_trait]
impl DeadLetters for StoredLetters {
    async fn store(&self, letter: &DeadLetter<'_>) -> Result<(), BoxError> {
        self.0.lock().expect("the lock is not poisoned").push(letter.to_string());
        Ok(())
    }
}

impl StoredLetters {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("the lock is not poisoned"))
    }
}

fn only<H: Registered>() -> RouterBuilder {
    Router::builder().only::<H>()
}

fn endpoint(router: RouterBuilder, clock: &ManualClock) -> Endpoint<Router> {
    let router = router.clock(clock.clone()).build().expect("the router is valid");
    Endpoint::new(secret(), router).clock(clock.clone())
}

fn request() -> String {
    payload(REQUEST).replace(r#""created""#, r#""api_version":"2026-10-28.endive","created""#)
}

async fn answer(router: RouterBuilder) -> Response<String> {
    send(endpoint(router, &ManualClock::at(now())), post(request())).await
}

#[tokio::test]
async fn reply_is_the_response_with_event_api_version() {
    let response = answer(only::<authorize>()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.body(), r#"{"approved":true}"#);
    assert_eq!(response.headers()["stripe-version"], "2026-10-28.endive");
    let report: &Report = response.extensions().get().unwrap();
    assert!(report.handler("z.authorize").unwrap().is_done());
}

#[tokio::test]
async fn response_without_reply_has_no_stripe_version() {
    let router = Router::builder().without_linked().handler("a", ["*"], async |_: Event| {});
    assert!(answer(router).await.headers().get("stripe-version").is_none());
}

#[tokio::test]
async fn handler_beyond_deadline_gets_default_reply() {
    let (clock, letters) = (ManualClock::at(now()), StoredLetters::default());
    let endpoint = endpoint(only::<slow>().dead_letters(letters.clone()), &clock);
    let (response, ()) = tokio::join!(send(endpoint.clone(), post(request())), async {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(1));
    });
    assert_eq!((response.status().as_u16(), &**response.body()), (200, r#"{"approved":false}"#));
    let text = "default/evt_1/issuing_authorization.request by handler slow, attempt 1: the handler did not finish within 1s";
    assert_eq!(letters.take(), [text]);
    // A duplicate gets the same reply without another run of the handler, although it has failed.
    let duplicate = send(endpoint, post(request())).await;
    let report: &Report = duplicate.extensions().get().unwrap();
    assert_eq!((report.outcome(), report.handlers()[0].outcome()), ("duplicate", "duplicate"));
    assert_eq!((duplicate.status().as_u16(), &**duplicate.body()), (200, r#"{"approved":false}"#));
    assert!(letters.take().is_empty());
}

#[tokio::test]
async fn failed_handler_gets_default_reply_and_dead_letter() {
    let letters = StoredLetters::default();
    let response = answer(only::<failing>().dead_letters(letters.clone())).await;
    assert_eq!((response.status().as_u16(), &**response.body()), (200, r#"{"approved":false}"#));
    let report: &Report = response.extensions().get().unwrap();
    assert_eq!(report.handler("failing").unwrap().outcome(), "dead");
    assert!(letters.take()[0].ends_with("the ledger is down"));
}

#[tokio::test]
async fn default_reply_is_sent_for_each_kind_of_failure() {
    let faults: [(Fault, &str); 3] = [
        (|| Err(Failure::retry("not now")), "not now"),
        (|| Err(Failure::permanent("no such card")), "no such card"),
        (|| panic!("a bug"), "a bug"),
    ];
    for (fault, message) in faults {
        let letters = StoredLetters::default();
        let router = only::<faulty>().state(fault).dead_letters(letters.clone());
        let response = answer(router).await;
        assert_eq!(
            (response.status().as_u16(), &**response.body()),
            (200, r#"{"approved":false}"#)
        );
        assert!(letters.take()[0].contains(message), "{message}");
    }
    // An object that does not decode.
    let router = only::<faulty>().state::<Fault>(|| Ok(Reply(Decision { approved: true })));
    let malformed = request().replace(r#""amount""#, r#""Amount""#);
    let response = send(endpoint(router, &ManualClock::at(now())), post(malformed)).await;
    assert_eq!((response.status().as_u16(), &**response.body()), (200, r#"{"approved":false}"#));
}

#[tokio::test]
async fn panicking_default_reply_answers_500_and_is_logged() {
    log(LevelFilter::ERROR);
    let response = answer(only::<panicking>()).await;
    assert_eq!(response.status(), 500);
    let log = logged();
    let line = "failed to build the default reply; Stripe gets no reply: fix the function that `default_reply` names \
                handler=\"panicking\" error=";
    assert!(log.contains(line), "{log}");
}

#[on_event("issuing_authorization.request", name = "undecided")]
async fn undecided(fault: State<Fault>) -> Result<Reply<Decision>, Failure> {
    fault()
}

#[tokio::test]
async fn failure_without_default_reply_is_500_or_200_if_permanent() {
    let faults: [(Fault, u16); 2] = [
        (|| Err(Failure::retry("the ledger is down")), 500),
        (|| Err(Failure::permanent("no such card")), 200),
    ];
    for (fault, status) in faults {
        let response = answer(Router::builder().only::<undecided>().state(fault)).await;
        assert_eq!(response.status(), status);
        assert!(response.headers().get("stripe-version").is_none());
        assert!(!response.body().contains("approved"), "{}", response.body());
    }
}

#[tokio::test]
async fn reply_does_not_wait_for_other_handlers() {
    let letters = StoredLetters::default();
    let (held, mut progress) = Held::new();
    let router = only::<authorize>()
        .handler("a.held", ["issuing_authorization.*"], held.clone())
        .handler("b.fails", ["*"], async |_: Event| Err::<(), _>("not now"))
        .dead_letters(letters.clone())
        .clock(ManualClock::at(now()))
        .build()
        .unwrap();
    let deliver = || router.clone().oneshot(event(request()).unwrap());
    let report = deliver().await.unwrap();
    assert_eq!(report.reply().unwrap(), r#"{"approved":true}"#.as_bytes());
    // A duplicate gets the same reply at once, although another handler of the event still runs.
    assert_eq!(progress.recv().await, Some("begun"));
    assert_eq!(deliver().await.unwrap().reply(), report.reply());

    held.release();
    router.close();
    router.drained().await;
    assert_eq!(progress.recv().await, Some("done"));
    assert!(progress.try_recv().is_err(), "the handler ran more than once");
    // Stripe got a 200 and does not retry the failed handler, so it becomes a dead letter.
    assert_eq!(letters.take().len(), 1);
}

/// A manual implementation that replies, but lacks `Handler::replies`.
struct UndeclaredReply;

#[async_trait::async_trait]
impl Handler for UndeclaredReply {
    async fn call(&self, _: Event) -> HandlerResult {
        decline().into_outcome()
    }
}

#[tokio::test]
async fn manual_handler_must_declare_its_reply() {
    let closure = async |_: Event| decline();
    let router = Router::builder().without_linked().handler("closure", ["*"], closure);
    assert_eq!(answer(router).await.body(), r#"{"approved":false}"#);

    let response =
        answer(Router::builder().without_linked().handler("undeclared", ["*"], UndeclaredReply))
            .await;
    let report: &Report = response.extensions().get().unwrap();
    let failure = report.handler("undeclared").unwrap().result().unwrap_err();
    assert!(failure.is_permanent() && failure.to_string().contains("from `replies`"), "{failure}");
}

#[test]
fn two_replies_to_one_event_fail_the_build() {
    async fn outcome(_: Event) -> Outcome {
        Outcome::Done
    }

    let error = only::<authorize>()
        .add::<slow>()
        .handler("outcome", [REQUEST], outcome)
        .build()
        .unwrap_err();
    insta::assert_snapshot!(error, @r#"
    the router cannot be built: 1 problem
      1. these handlers would reply to the same event, but Stripe accepts only one reply
           tests/tests/routing/reply.rs:50  `slow`  on issuing_authorization.request
           tests/tests/routing/reply.rs:44  `z.authorize`  on issuing_authorization.request
         help: let one return a `Reply` and the other `()`, or separate their events with `endpoint = "..."` or `livemode = ...`
    "#);
    let closure = async |_: Event| decline();
    let other =
        Router::builder().without_linked().add::<authorize>().handler("b", ["charge.*"], closure);
    assert!(other.build().is_ok());
}

#[test]
fn routes_show_the_replying_handler() {
    let router = only::<authorize>().handler("a", ["*"], async |_: Event| {}).build().unwrap();
    let routes = router.routes().to_string();
    let line = routes.lines().find(|line| line.contains("z.authorize")).unwrap();
    assert!(line.contains(" reply "), "{routes}");
    let explained = router.explain(REQUEST).to_string();
    assert!(explained.find("z.authorize") < explained.find("a  "), "{explained}");
}
