//! The arguments of handlers, and the outcome if an argument cannot be extracted.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use router_core::{
    Event, EventId, Failure, FailureExt as _, FromEvent, Object, Previous, Rejection, Router,
    State,
    build::{Registered, RouterBuilder},
    event::RelatedObject,
    extract::{Account, EventType, Livemode, OptionalFromEvent},
    handler::{HandlerReport, Report},
    on_event, on_unhandled,
    signature::EndpointName,
};
use router_tests::{NOW, event, payload, payload_with_id};
use serde::Deserialize;
use tower::ServiceExt as _;

/// Lines that the handlers of a test add.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn add(&self, note: impl Debug) {
        self.0.lock().unwrap().push(format!("{note:?}"));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Runs only the handler `H` for an event. Returns the handler's notes and the report.
async fn run<H: Registered>(payload: &str) -> (Vec<String>, Report) {
    let notes = Arc::new(Notes::default());
    let router = Router::builder().only::<H>().shared_state(notes.clone()).state(Shop("hats"));
    let report = router.build().unwrap().oneshot(event(payload.to_owned()).unwrap()).await;
    (notes.take(), report.unwrap())
}

/// Returns whether the only failure of a report is permanent, and its text.
fn failure(report: &Report) -> (bool, String) {
    let [handler] = report.handlers() else { panic!("not one handler: {report:?}") };
    let failure = handler.result().unwrap_err();
    (failure.is_permanent(), failure.to_string())
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only printed, with `Debug`")]
struct Thing {
    id: String,
    amount: i64,
}

struct Shop(&'static str);

/// Returns an event about an updated object of a connected account.
fn updated() -> String {
    format!(
        r#"{{"id":"evt_2","object":"event","type":"customer.updated","created":{NOW},"livemode":true,"account":"acct_1","data":{{"object":{{"id":"cus_1","amount":7}},"previous_attributes":{{"amount":5}}}}}}"#
    )
}

/// A thin event with a related object.
const THIN: &str = r#"{"id":"evt_3","object":"v2.core.event","type":"v1.billing.meter.no_meter_found","created":"2023-11-14T22:13:20.000Z","livemode":false,"related_object":{"id":"mtr_1","type":"billing.meter","url":"/v1/billing/meters/mtr_1"}}"#;

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only printed, with `Debug`")]
struct Before {
    amount: Option<i64>,
    name: Option<String>,
}

#[on_event("customer.updated")]
#[expect(clippy::too_many_arguments, reason = "every extractor is tested at once")]
async fn takes_ten_arguments(
    event: Event,
    thing: Object<Thing>,
    before: Previous<Before>,
    id: EventId,
    event_type: EventType,
    endpoint: EndpointName,
    account: Account,
    livemode: Livemode,
    shop: State<Shop>,
    notes: State<Notes>,
) {
    notes.add((event, thing.0, before.0));
    notes.add((id, event_type, endpoint, account, livemode, shop.0.0));
}

#[tokio::test]
async fn handler_receives_all_arguments() {
    let (notes, report) = run::<takes_ten_arguments>(&updated()).await;
    assert_eq!(
        notes,
        [
            r#"(Event { id: "evt_2", type: "customer.updated", endpoint: "default", account: Some("acct_1"), .. }, Thing { id: "cus_1", amount: 7 }, Before { amount: Some(5), name: None })"#,
            r#"(EventId("evt_2"), EventType("customer.updated"), EndpointName("default"), Account("acct_1"), Livemode(true), "hats")"#,
        ]
    );
    assert!(report.handlers().iter().all(HandlerReport::is_done));
}

#[on_event("v1.billing.meter.no_meter_found", "invoice.paid", "customer.updated")]
async fn takes_optional_arguments(
    notes: State<Notes>,
    optional: (Option<Object<Thing>>, Option<Previous<Before>>, Option<RelatedObject>),
    account: Option<Account>,
    missing: Option<State<String>>,
) {
    notes.add((optional, account, missing.is_some()));
}

#[tokio::test]
async fn optional_argument_is_none_if_absent() {
    let notes = async |payload: &str| run::<takes_optional_arguments>(payload).await.0;
    assert_eq!(
        notes(THIN).await,
        [
            r#"((None, None, Some(RelatedObject { id: Some("mtr_1"), type: Some("billing.meter"), url: Some("/v1/billing/meters/mtr_1") })), None, false)"#
        ]
    );
    assert_eq!(
        notes(&payload("invoice.paid")).await,
        [r#"((Some(Object(Thing { id: "obj_1", amount: 2000 })), None, None), None, false)"#]
    );
    assert_eq!(
        notes(&updated()).await,
        [
            r#"((Some(Object(Thing { id: "cus_1", amount: 7 })), Some(Previous(Before { amount: Some(5), name: None })), None), Some(Account("acct_1")), false)"#
        ]
    );
}

#[derive(Debug, Deserialize)]
struct Cancellation {
    #[serde(default, deserialize_with = "router_core::extract::changed")]
    cancel_at: Option<Option<i64>>,
    #[serde(default, deserialize_with = "router_core::extract::changed")]
    status: Option<String>,
}

#[on_event("customer.subscription.updated")]
async fn follows_cancellation(before: Previous<Cancellation>, notes: State<Notes>) {
    notes.add((before.cancel_at, &before.status));
}

/// Returns an updated subscription with these previous attributes.
fn with_previous(attributes: &str) -> String {
    let payload = updated().replace("customer.updated", "customer.subscription.updated");
    payload.replace(r#"{"amount":5}"#, attributes)
}

#[tokio::test]
async fn previous_null_differs_from_no_change() {
    for (previous, note) in [
        ("{}", "(None, None)"),
        (r#"{"cancel_at":null}"#, "(Some(None), None)"),
        (r#"{"cancel_at":7,"status":"active"}"#, r#"(Some(Some(7)), Some("active"))"#),
    ] {
        assert_eq!(run::<follows_cancellation>(&with_previous(previous)).await.0, [note]);
    }
    // Null does not match a type without an `Option`, so this mistake is not silent either.
    let (_, report) = run::<follows_cancellation>(&with_previous(r#"{"status":null}"#)).await;
    let (permanent, text) = failure(&report);
    assert!(permanent, "{text}");
    insta::assert_snapshot!(
        text,
        @"cannot extract the argument `Previous<Cancellation>`: `data.previous_attributes` does not decode at `status`: invalid type: null, expected a string"
    );
}

/// `None` would hide that the handler's type no longer matches Stripe's object.
#[tokio::test]
async fn optional_argument_fails_if_it_does_not_decode() {
    let invalid = payload("invoice.paid").replace("2000", r#""much""#);
    let (notes, report) = run::<takes_optional_arguments>(&invalid).await;
    assert!(notes.is_empty(), "the handler was called");
    let (permanent, text) = failure(&report);
    let reason = "cannot extract the argument `Option<Object<Thing>>`: `data.object` does not decode at `amount`: ";
    assert!(permanent && text.starts_with(reason), "{text}");
}

#[on_event("invoice.paid")]
async fn takes_results(
    notes: State<Notes>,
    thing: Result<Object<Thing>, Rejection>,
    before: Result<Previous<Before>, Rejection>,
) {
    notes.add((thing.is_ok(), before.map_err(|rejection| rejection.to_string()).map(|_| ())));
}

#[tokio::test]
async fn result_argument_holds_the_rejection() {
    let (notes, report) = run::<takes_results>(&payload("invoice.paid")).await;
    assert_eq!(
        notes,
        [
            r#"(true, Err("cannot extract the argument `Previous<Before>`: the event has no `data.previous_attributes`: a thin event only names its object, and only an `*.updated` event has previous attributes; if that is expected, take the argument as an `Option`"))"#
        ]
    );
    assert!(report.handlers()[0].is_done());
}

#[on_event("invoice.paid")]
async fn needs_an_account(account: Account, notes: State<Notes>) {
    notes.add(account);
}

#[tokio::test]
async fn missing_argument_is_a_permanent_failure() {
    let (notes, report) = run::<needs_an_account>(&payload("invoice.paid")).await;
    assert!(notes.is_empty(), "the handler was called");
    let text = "cannot extract the argument `Account`: the event names no connected account; take an `Option<Account>`";
    assert_eq!(failure(&report), (true, text.to_owned()));
}

/// A custom extractor that awaits and has several needs.
struct Customer(String);

impl FromEvent for Customer {
    type Needs = (State<Shop>, Option<State<u16>>);

    async fn from_event(event: &Event, (shop, number): Self::Needs) -> Result<Self, Rejection> {
        tokio::task::yield_now().await;
        match event.livemode() {
            Some(true) => Err("the database is unavailable".into()),
            _ => Ok(Self(format!("of {}, {:?}", shop.0.0, number.map(|number| *number)))),
        }
    }
}

impl OptionalFromEvent for Customer {
    type Needs = ();

    async fn from_event(_: &Event, (): ()) -> Result<Option<Self>, Rejection> {
        Ok(None)
    }
}

#[on_event("invoice.paid", "customer.updated")]
async fn takes_custom_argument(customer: Customer, missing: Option<Customer>, notes: State<Notes>) {
    notes.add((customer.0, missing.is_none()));
}

#[tokio::test]
async fn custom_extractor_can_await_and_fail_transiently() {
    let (notes, report) = run::<takes_custom_argument>(&payload("invoice.paid")).await;
    assert_eq!(notes, [r#"("of hats, None", true)"#]);
    assert!(!report.needs_retry());

    let (notes, report) = run::<takes_custom_argument>(&updated()).await;
    assert!(notes.is_empty(), "the handler was called");
    let text = "cannot extract the argument `Customer`: the database is unavailable";
    assert_eq!(failure(&report), (false, text.to_owned()));
}

/// An extractor that always fails, with an error of another kind for each mode.
#[derive(Debug)]
struct Unavailable;

impl FromEvent for Unavailable {
    type Needs = ();

    async fn from_event(event: &Event, (): ()) -> Result<Self, Rejection> {
        let error = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        match event.livemode() {
            Some(true) => Err(Failure::retry_in(error(), Duration::from_secs(7)))?,
            Some(false) => Err(error()).or_permanent()?,
            None => Err(error())?,
        }
    }
}

#[on_event("customer.updated")]
async fn takes_tuple(_: (Event, Unavailable)) {}

#[on_event("customer.updated")]
async fn returns_rejection(argument: Result<Unavailable, Rejection>) -> Result<(), Failure> {
    let rejection = argument.unwrap_err();
    assert!(rejection.argument().unwrap().ends_with("::Unavailable"), "{rejection:?}");
    assert!(rejection.error().is::<std::io::Error>(), "{rejection:?}");
    Err(rejection)?
}

#[tokio::test]
async fn rejection_keeps_argument_class_and_cause() {
    let live = updated();
    for (payload, permanent, retry_after) in [
        (live.replace(r#""livemode":true,"#, ""), false, None),
        (live.replace("true", "false"), true, None),
        (live, false, Some(Duration::from_secs(7))),
    ] {
        for report in
            [run::<takes_tuple>(&payload).await.1, run::<returns_rejection>(&payload).await.1]
        {
            let failure = report.handlers()[0].result().unwrap_err();
            assert_eq!((failure.is_permanent(), failure.retry_after()), (permanent, retry_after));
            let text = "cannot extract the argument `Unavailable`: timed out";
            assert_eq!(failure.to_string(), text);
            let cause = failure.chain().last().unwrap().downcast_ref::<std::io::Error>();
            assert_eq!(cause.unwrap().kind(), std::io::ErrorKind::TimedOut);
        }
    }
}

#[on_event("customer.updated")]
async fn compares_memory(event: Event, id: EventId, event_type: EventType, account: Account) {
    assert_eq!(
        (&*id, &*event_type, Some(&*account)),
        (event.id(), event.event_type(), event.account())
    );
    let is_shared =
        |text: &str| event.payload_text().as_bytes().as_ptr_range().contains(&text.as_ptr());
    // Only a text with an escape is copied.
    assert_eq!(is_shared(id.as_str()), event.payload_text().contains("evt_2"));
    assert!(is_shared(event_type.as_ref()) && is_shared(&account));
}

#[tokio::test]
async fn text_arguments_share_the_memory_of_the_event() {
    for payload in [updated(), updated().replace("evt_2", r"evt_\u0032")] {
        let (_, report) = run::<compares_memory>(&payload).await;
        assert!(report.handlers()[0].is_done(), "{report:?}");
    }
}

trait Mailer: Send + Sync {
    fn name(&self) -> &'static str;
}

struct Smtp;

impl Mailer for Smtp {
    fn name(&self) -> &'static str {
        "smtp"
    }
}

#[on_event("invoice.paid")]
async fn mails(mailer: State<dyn Mailer>, notes: State<Notes>) {
    notes.add(mailer.name());
}

#[tokio::test]
async fn shared_state_can_be_a_trait_object() {
    let notes = Arc::new(Notes::default());
    let mailer: Arc<dyn Mailer> = Arc::new(Smtp);
    let router = Router::builder().only::<mails>().shared_state(mailer).shared_state(notes.clone());
    let event = event(payload("invoice.paid")).unwrap();
    assert!(router.build().unwrap().oneshot(event).await.unwrap().handlers()[0].is_done());
    assert_eq!(notes.take(), [r#""smtp""#]);
}

#[on_event("invoice.paid")]
async fn sends(_: State<Box<dyn Mailer>>) {}

#[on_event("invoice.paid")]
async fn sells(_: State<Shop>) {}

#[on_event("invoice.paid")]
async fn sells_shared(_: State<Arc<Shop>>) {}

/// Returns the advice for the missing state of the handler `H`.
fn advice<H: Registered>(add_states: fn(RouterBuilder) -> RouterBuilder) -> String {
    let builder = Router::builder().only::<H>().shared_state(Arc::new(Notes::default()));
    let error = add_states(builder).build().unwrap_err().to_string();
    error.split_once("help: ").unwrap().1.to_owned()
}

#[test]
fn missing_state_error_says_how_to_add_it() {
    let advice = [
        advice::<mails>(|router| router.state(Box::new(Smtp) as Box<dyn Mailer>)),
        advice::<mails>(|router| router.state(Box::new(Smtp) as Box<dyn Mailer + Send + Sync>)),
        advice::<mails>(|router| router.shared_state(Arc::new(Smtp))),
        advice::<sends>(|router| router.shared_state(Arc::new(Smtp) as Arc<dyn Mailer>)),
        advice::<sells>(|router| router.state(Mutex::new(Shop("hats")))),
        advice::<sells>(|router| router.state(Arc::new(Shop("hats")))),
        advice::<sells_shared>(|router| router.state(Shop("hats"))),
        advice::<sells_shared>(|router| router),
    ];
    insta::assert_snapshot!(advice.join("\n"), @r"
    call `.shared_state(Arc::new(value) as Arc<dyn routing::extract::Mailer>)` before `.build()`; `alloc::boxed::Box<dyn routing::extract::Mailer>` is a different type
    call `.shared_state(Arc::new(value) as Arc<dyn routing::extract::Mailer>)` before `.build()`; `alloc::boxed::Box<dyn routing::extract::Mailer + core::marker::Send + core::marker::Sync>` is a different type
    call `.shared_state(Arc::new(value) as Arc<dyn routing::extract::Mailer>)` before `.build()`
    call `.state(...)` before `.build()`; `dyn routing::extract::Mailer` is a different type: take a `State<dyn routing::extract::Mailer>`
    call `.state(...)` before `.build()`; `std::sync::poison::mutex::Mutex<routing::extract::Shop>` is a different type: take a `State<std::sync::poison::mutex::Mutex<routing::extract::Shop>>`
    call `.state(...)` before `.build()`; `alloc::sync::Arc<routing::extract::Shop>` is a different type: add it with `.shared_state(...)`, or take a `State<alloc::sync::Arc<routing::extract::Shop>>`
    take a `State<routing::extract::Shop>` instead, which is an `Arc` already
    take a `State<routing::extract::Shop>` instead, which is an `Arc` already, and call `.state(...)` or `.shared_state(...)` before `.build()`
    ");
}

#[on_unhandled]
async fn fallback(event_type: EventType, notes: State<Notes>) -> Result<(), &'static str> {
    notes.add((event_type.is_known(), event_type));
    Err("this failure is ignored")
}

#[tokio::test]
async fn on_unhandled_handler_leaves_event_unhandled() {
    let notes = Arc::new(Notes::default());
    let router = Router::builder()
        .without_linked()
        .add::<takes_results>()
        .add::<fallback>()
        .shared_state(notes.clone())
        .build()
        .unwrap();
    for event_type in ["invoice.voided", "coffee.made", "invoice.paid"] {
        let event = event(payload_with_id(event_type, event_type)).unwrap();
        let report = router.clone().oneshot(event).await.unwrap();
        assert_eq!(report.is_unhandled(), event_type != "invoice.paid");
        assert!(!report.needs_retry(), "the failure of an `#[on_unhandled]` handler is retried");
    }
    let [known, unknown, handled] = &notes.take()[..] else { panic!("not three notes") };
    assert_eq!(known, r#"(true, EventType("invoice.voided"))"#);
    assert_eq!(unknown, r#"(false, EventType("coffee.made"))"#);
    assert!(handled.starts_with("(true, Err("), "{handled}");
}
