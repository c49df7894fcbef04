//! Events that come again, inline: what each handler does by its earlier result, what the answer
//! says, and what the log says.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use router_core::{
    BoxError, Endpoint, Event, Failure, Object, Outcome, Reply, Router, Secrets, State,
    build::RouterBuilder,
    completions::{Completion, CompletionStore, HandlerProgress, InMemoryCompletions},
    event::EventKey,
    handler::{HandlerResult, IntoHandler},
    on_event, on_unhandled,
    testing::{ManualClock, SyntheticEvent},
};
use router_tests::{
    SECRET, event,
    exchange::{post, send},
    held::Held,
    logged::{log, logged},
    now, payload, secret,
};
use serde_json::Value;
use tracing_subscriber::filter::LevelFilter;

mod twins;

const PAID: &str = "invoice.paid";
const ALREADY_HANDLED: &str = "duplicate event: already handled by this handler, not run again";
const STARTS_OVER: &str = "the handler's dead letter starts over with this event";

fn endpoint(router: RouterBuilder) -> Endpoint<Router> {
    log(LevelFilter::INFO);
    let clock = ManualClock::at(now());
    let router = router.clock(clock.clone()).build().expect("the router is valid");
    logged();
    Endpoint::new(secret(), router).clock(clock)
}

fn router() -> RouterBuilder {
    Router::builder().without_linked()
}

/// Sends the event, and returns the answer: the status, the event's outcome, and the outcome of
/// each handler.
async fn deliver(endpoint: &Endpoint<Router>, body: impl Into<bytes::Bytes>) -> String {
    let response = send(endpoint.clone(), post(body)).await;
    let body: Value = serde_json::from_str(response.body()).expect("the body is JSON");
    let mut answer = format!("{} {}", response.status().as_u16(), body["outcome"]);
    for handler in body["handlers"].as_array().into_iter().flatten() {
        answer += &format!(" {}={}", handler["name"], handler["outcome"]);
    }
    answer.replace('"', "")
}

/// Returns the captured lines with this text.
fn lines<'l>(log: &'l str, text: &str) -> Vec<&'l str> {
    log.lines().filter(|line| line.contains(text)).collect()
}

/// The calls of handlers.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().expect("the lock is not poisoned")
    }

    fn push(&self, call: impl Into<String>) {
        self.lock().push(call.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lock())
    }

    /// Returns a handler that records its calls, and returns these results, then [`done`].
    fn handler(
        &self,
        name: &'static str,
        results: &'static [fn() -> HandlerResult],
    ) -> impl IntoHandler<(Event,)> {
        let (calls, results) = (self.clone(), Mutex::new(results.iter()));
        move |_: Event| {
            calls.push(name);
            let result = results.lock().expect("the lock is not poisoned").next().copied();
            std::future::ready(result.unwrap_or(done)())
        }
    }
}

fn done() -> HandlerResult {
    Ok(Outcome::Done)
}

fn ignored() -> HandlerResult {
    Ok(Outcome::ignored("not ours"))
}

fn fails() -> HandlerResult {
    Err("not now".into())
}

fn dead() -> HandlerResult {
    Err(Failure::permanent("never"))
}

/// A completion store that outlives its router.
#[derive(Clone, Default)]
struct SharedStore(Arc<InMemoryCompletions>);

#[async_trait::async_trait]
impl CompletionStore for SharedStore {
    async fn load(&self, event: &EventKey) -> Result<Vec<HandlerProgress>, BoxError> {
        self.0.load(event).await
    }

    async fn record(&self, event: &EventKey, progress: HandlerProgress) -> Result<(), BoxError> {
        self.0.record(event, progress).await
    }
}

#[tokio::test]
async fn finished_handler_is_answered_with_duplicate() {
    let calls = Calls::default();
    let shop = endpoint(router().handler("a", [PAID], calls.handler("a", &[done])).handler(
        "b",
        [PAID],
        calls.handler("b", &[ignored]),
    ));
    assert_eq!(deliver(&shop, payload(PAID)).await, "200 done a=done b=ignored");
    assert!(!logged().contains("duplicate"));
    for _ in 0..2 {
        assert_eq!(deliver(&shop, payload(PAID)).await, "200 duplicate a=duplicate b=duplicate");
        let log = logged();
        let found = lines(&log, ALREADY_HANDLED);
        assert_eq!(found.len(), 2, "{log}");
        for (line, handler) in found.iter().zip(["a", "b"]) {
            assert!(line.starts_with(" INFO"), "{line}");
            let fields = format!(r#"handler="{handler}" event.id="evt_1" event.type="{PAID}""#);
            assert!(line.contains(&fields), "{line}");
        }
    }
    assert_eq!(calls.take(), ["a", "b"]);
}

#[tokio::test]
async fn handler_that_needs_a_retry_runs_again() {
    let calls = Calls::default();
    let shop = endpoint(router().handler("a", [PAID], calls.handler("a", &[fails])).handler(
        "b",
        [PAID],
        calls.handler("b", &[]),
    ));
    assert_eq!(deliver(&shop, payload(PAID)).await, "500 retry a=retry b=done");
    assert_eq!(deliver(&shop, payload(PAID)).await, "200 done a=done b=duplicate");
    assert_eq!(calls.take(), ["a", "b", "a"]);
}

#[tokio::test]
async fn handler_added_since_runs() {
    let (calls, store) = (Calls::default(), SharedStore::default());
    let builder = || router().completions(store.clone());
    let unhandled = endpoint(builder().handler("other", ["charge.failed"], async |_: Event| {}));
    assert_eq!(deliver(&unhandled, payload(PAID)).await, "200 unhandled");
    let one = || builder().handler("a", [PAID], calls.handler("a", &[]));
    assert_eq!(deliver(&endpoint(one()), payload(PAID)).await, "200 done a=done");
    let two = endpoint(one().handler("b", [PAID], calls.handler("b", &[])));
    assert_eq!(deliver(&two, payload(PAID)).await, "200 done a=duplicate b=done");
    assert_eq!(calls.take(), ["a", "b"]);
}

#[on_event("invoice.paid", name = "renamed", formerly = "old_name")]
async fn renamed(calls: State<Calls>) {
    calls.push("renamed");
}

/// The progress under the former name stays in the store, and must not decide again.
#[tokio::test]
async fn dead_letter_of_renamed_handler_starts_over_once() {
    let (calls, store) = (Calls::default(), SharedStore::default());
    let completion = Some(Completion::Dead { api_version: None });
    let progress = HandlerProgress { handler: "old_name".into(), attempts: 1, completion };
    store.record(&event(payload(PAID)).unwrap().key(), progress).await.unwrap();
    let shop = endpoint(router().add::<renamed>().state(calls.clone()).completions(store));
    for outcome in ["done", "duplicate", "duplicate"] {
        let answer = format!("200 {outcome} renamed={outcome}");
        assert_eq!(deliver(&shop, payload(PAID)).await, answer);
    }
    assert_eq!(calls.take(), ["renamed"]);
}

#[tokio::test]
async fn forgotten_event_is_a_new_one() {
    let (calls, clock) = (Calls::default(), ManualClock::at(now()));
    let completions =
        InMemoryCompletions::new().clock(clock.clone()).max_age(Duration::from_secs(60));
    let shop =
        endpoint(router().completions(completions).handler("a", [PAID], calls.handler("a", &[])));
    for (seconds, answer) in [(0, "done"), (60, "duplicate"), (1, "done")] {
        clock.advance(Duration::from_secs(seconds));
        assert_eq!(deliver(&shop, payload(PAID)).await, format!("200 {answer} a={answer}"));
    }
    assert_eq!(calls.take(), ["a", "a"]);
}

#[tokio::test]
async fn duplicate_in_flight_is_logged_at_info() {
    let (held, mut signals) = Held::new();
    let shop = endpoint(router().handler("held", [PAID], held.clone()));
    let first = pin!(deliver(&shop, payload(PAID)));
    let second = pin!(async {
        assert_eq!(signals.recv().await, Some("begun"));
        let answer = pin!(deliver(&shop, payload(PAID)));
        let release = async {
            held.release();
        };
        tokio::join!(answer, release).0
    });
    let (first, second) = tokio::join!(first, second);
    assert_eq!((&*first, &*second), ("200 done held=done", "200 done held=done"));
    let log = logged();
    let found = lines(&log, "duplicate event: the first delivery is still in flight");
    assert!(found.len() == 1 && found[0].starts_with(" INFO"), "{log}");
    assert!(found[0].contains(r#"event.id="evt_1" event.type="invoice.paid""#), "{log}");
}

#[derive(serde::Deserialize)]
struct PaymentIntent {
    amount: i64,
}

#[on_event("payment_intent.succeeded", name = "payments")]
async fn succeeded(intent: Object<PaymentIntent>, calls: State<Calls>) {
    calls.push(intent.amount.to_string());
}

/// Returns a `payment_intent.succeeded` with these fields of the object.
fn intent(object: &str) -> String {
    payload("payment_intent.succeeded")
        .replace(r#""amount":2000,"currency":"usd""#, object)
        .replace(r#""created""#, r#""api_version":"2015-02-16","created""#)
}

/// An event of an old API version does not decode. After the version was corrected at Stripe, the
/// event is sent again.
#[tokio::test]
async fn dead_letter_starts_over_with_the_event_as_received_now() {
    let calls = Calls::default();
    let builder = Router::builder().only::<succeeded>().state(calls.clone());
    let router = builder.build().unwrap();
    log(LevelFilter::INFO);
    logged();
    let secrets = Secrets::parse(&format!("{SECRET},whsec_new")).unwrap();
    let shop = Endpoint::new(secrets, router).clock(ManualClock::at(now()));

    assert_eq!(deliver(&shop, intent(r#""currency":"usd""#)).await, "200 dead payments=dead");
    assert!(calls.take().is_empty());
    logged();
    assert_eq!(deliver(&shop, intent(r#""amount":2000"#)).await, "200 done payments=done");
    assert_eq!(calls.take(), ["2000"]);
    let log = logged();
    let found = lines(&log, STARTS_OVER);
    assert!(found.len() == 1 && found[0].starts_with(" INFO"), "{log}");
    assert_eq!(
        deliver(&shop, intent(r#""amount":2000"#)).await,
        "200 duplicate payments=duplicate"
    );
    assert!(calls.take().is_empty());
}

#[tokio::test]
async fn permanent_failure_runs_again_from_attempt_1() {
    let calls = Calls::default();
    let shop = endpoint(
        router().handler("a", [PAID], calls.handler("a", &[fails, dead, dead, fails])).handler(
            "b",
            [PAID],
            calls.handler("b", &[]),
        ),
    );
    let mut attempts = Vec::new();
    for answer in [
        "500 retry a=retry b=done",
        "200 dead a=dead b=duplicate",
        "200 dead a=dead b=duplicate",
        "500 retry a=retry b=duplicate",
        "200 done a=done b=duplicate",
    ] {
        assert_eq!(deliver(&shop, payload(PAID)).await, answer);
        let log = logged();
        let attempt = log.split("stripe.attempt=").nth(1).and_then(|text| text.chars().next());
        attempts.push((lines(&log, STARTS_OVER).len(), attempt));
    }
    // The last line of each delivery names the attempt, unless the handler is done.
    let expected = [(0, Some('1')), (0, Some('2')), (1, Some('1')), (1, Some('1')), (0, None)];
    assert_eq!(attempts, expected);
    assert_eq!(calls.take(), ["a", "b", "a", "a", "a", "a"]);
}

#[tokio::test]
async fn dead_letter_does_not_start_over_while_stripe_redelivers() {
    let calls = Calls::default();
    let shop = endpoint(router().handler("a", [PAID], calls.handler("a", &[dead])).handler(
        "b",
        [PAID],
        calls.handler("b", &[fails, fails]),
    ));
    assert_eq!(deliver(&shop, payload(PAID)).await, "500 retry a=dead b=retry");
    for answer in ["500 retry a=dead b=retry", "200 dead a=dead b=done"] {
        logged();
        assert_eq!(deliver(&shop, payload(PAID)).await, answer);
        let log = logged();
        let found = lines(&log, "the handler's dead letter does not start over");
        assert!(found.len() == 1 && found[0].starts_with(" INFO"), "{log}");
        assert!(found[0].contains(r#"handler="a" event.id="evt_1""#), "{log}");
    }
    // Stripe has its 200, so only a person sends the event again.
    assert_eq!(deliver(&shop, payload(PAID)).await, "200 done a=done b=duplicate");
    assert_eq!(calls.take(), ["a", "b", "b", "b", "a"]);
}

/// Two Stripe endpoints send both versions of an event. The old one is answered with 500 because of
/// another handler, and the new one comes only once.
#[tokio::test]
async fn dead_letter_starts_over_in_another_version() {
    let calls = Calls::default();
    let shop = endpoint(router().handler("a", [PAID], calls.handler("a", &[dead])).handler(
        "b",
        [PAID],
        calls.handler("b", &[fails]),
    ));
    let copy = |version: &str| {
        let event = SyntheticEvent::new(PAID).id("evt_1").api_version(version);
        event.build().expect("event is valid").body().clone()
    };
    assert_eq!(deliver(&shop, copy("2015-02-16")).await, "500 retry a=dead b=retry");
    assert_eq!(deliver(&shop, copy("2026-10-28.endive")).await, "200 done a=done b=done");
    assert_eq!(calls.take(), ["a", "b", "a", "b"]);
}

/// The failed handler of another event type cannot hold a dead letter back.
#[tokio::test]
async fn handler_that_no_longer_matches_holds_nothing_back() {
    let (calls, store) = (Calls::default(), SharedStore::default());
    let builder = || router().completions(store.clone());
    let a = || builder().handler("a", [PAID], calls.handler("a", &[dead]));
    let before = endpoint(a().handler("b", [PAID], calls.handler("b", &[fails])));
    assert_eq!(deliver(&before, payload(PAID)).await, "500 retry a=dead b=retry");
    let after = endpoint(a().handler("b", ["charge.failed"], calls.handler("b", &[])));
    assert_eq!(deliver(&after, payload(PAID)).await, "200 dead a=dead");
    assert_eq!(calls.take(), ["a", "b", "a"]);
}

#[on_unhandled(name = "fallback")]
async fn fallback(calls: State<Calls>) -> Result<(), Failure> {
    let first = calls.lock().is_empty();
    calls.push("fallback");
    if first { Err(Failure::permanent("never")) } else { Ok(()) }
}

#[tokio::test]
async fn dead_letter_of_unhandled_event_starts_over() {
    let calls = Calls::default();
    let other = router().handler("other", ["charge.failed"], async |_: Event| {});
    let shop = endpoint(other.add::<fallback>().state(calls.clone()));
    for (text, runs) in [("", 1), (STARTS_OVER, 2), (ALREADY_HANDLED, 2)] {
        assert_eq!(deliver(&shop, payload(PAID)).await, "200 unhandled");
        assert!(logged().contains(text), "{text}");
        assert_eq!(calls.lock().len(), runs);
    }
}

const REQUEST: &str = "issuing_authorization.request";

/// Runs first, and fails before its first reply.
#[on_event("issuing_authorization.request", name = "z.authorize")]
async fn authorize(calls: State<Calls>) -> Result<Reply<&'static str>, Failure> {
    let first = calls.lock().is_empty();
    calls.push("authorize");
    if first { Err(Failure::retry("not now")) } else { Ok(Reply("approved")) }
}

#[tokio::test]
async fn dead_letter_after_a_reply_starts_over() {
    let calls = Calls::default();
    let builder = router().add::<authorize>().state(calls.clone());
    let shop = endpoint(builder.handler("a", [REQUEST], calls.handler("a", &[dead, fails])));
    let answers =
        ["500 retry z.authorize=retry a=dead", "200 null", "200 null", "200 null", "200 null"];
    let mut restarts = Vec::new();
    for answer in answers {
        assert_eq!(deliver(&shop, payload(REQUEST)).await, answer);
        // The handler after the one that replied runs in a task, which is ready at once.
        tokio::task::yield_now().await;
        restarts.push(lines(&logged(), STARTS_OVER).len());
    }
    // The second delivery is Stripe's own. In the third one, the failure cannot be retried, so it
    // is a dead letter too.
    assert_eq!(restarts, [0, 0, 1, 1, 0]);
    assert_eq!(calls.take(), ["authorize", "a", "authorize", "a", "a"]);
}

#[tokio::test]
async fn events_with_test_id_are_never_duplicates() {
    let calls = Calls::default();
    let shop = endpoint(router().handler("a", ["*"], calls.handler("a", &[])));
    let test_event = |event_type: &str| payload(event_type).replace("evt_1", "evt_00000000000000");
    let other_object = test_event(PAID).replace("obj_1", "obj_2");
    let mut log = String::new();
    for body in [test_event(PAID), test_event("charge.failed"), other_object, test_event(PAID)] {
        assert_eq!(deliver(&shop, body).await, "200 done a=done");
        log += &logged();
    }
    assert_eq!(calls.take().len(), 4);
    let found = lines(&log, "has the id of Stripe's test events");
    assert!(found.len() == 1 && found[0].starts_with(" INFO"), "{log}");
    assert!(!log.contains("already handled"), "{log}");
}
