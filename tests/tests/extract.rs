//! What handlers are given, and what becomes of an event when it cannot be given.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use router_core::{
    Account, Event, EventId, EventType, FromEvent, HandlerReport, Livemode, Object,
    OptionalFromEvent, Previous, Registered, Rejection, RelatedObject, Report, Router, State,
    on_event, on_unhandled,
};
use router_tests::{NOW, event, payload, payload_with_id};
use serde::Deserialize;
use tower::ServiceExt as _;

/// What the handlers of a test noted.
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

/// Runs this handler alone for an event, and says what it noted and what became of the event.
async fn run<H: Registered>(payload: &str) -> (Vec<String>, Report) {
    let notes = Arc::new(Notes::default());
    let router = Router::builder().only::<H>().shared_state(notes.clone()).state(Shop("hats"));
    let report = router.build().unwrap().oneshot(event(payload.to_owned()).unwrap()).await;
    (notes.take(), report.unwrap())
}

/// The one failure of a report: whether it is for good, and its text.
fn failure(report: &Report) -> (bool, String) {
    let [handler] = report.handlers() else { panic!("not one handler: {report:?}") };
    let failure = handler.result().unwrap_err();
    (failure.is_permanent(), failure.to_string())
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "it is printed")]
struct Thing {
    id: String,
    amount: i64,
}

struct Shop(&'static str);

/// An update of a connected account's thing.
fn updated() -> String {
    format!(
        r#"{{"id":"evt_2","object":"event","type":"customer.updated","created":{NOW},"livemode":true,"account":"acct_1","data":{{"object":{{"id":"cus_1","amount":7}},"previous_attributes":{{"amount":5}}}}}}"#
    )
}

const THIN: &str = r#"{"id":"evt_3","object":"v2.core.event","type":"v1.billing.meter.no_meter_found","created":"2023-11-14T22:13:20.000Z","livemode":false,"related_object":{"id":"mtr_1","type":"billing.meter","url":"/v1/billing/meters/mtr_1"}}"#;

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "it is printed")]
struct Before {
    amount: Option<i64>,
    name: Option<String>,
}

#[on_event("customer.updated")]
#[expect(clippy::too_many_arguments, reason = "as many as can be wanted")]
async fn takes_nine(
    event: Event,
    thing: Object<Thing>,
    before: Previous<Before>,
    id: EventId,
    event_type: EventType,
    account: Account,
    livemode: Livemode,
    shop: State<Shop>,
    notes: State<Notes>,
) {
    notes.add((event, thing.0, before.0));
    notes.add((id, event_type, account, livemode, shop.0.0));
}

#[tokio::test]
async fn a_handler_is_given_what_the_event_has() {
    let (notes, report) = run::<takes_nine>(&updated()).await;
    assert_eq!(
        notes,
        [
            r#"(Event { id: "evt_2", type: "customer.updated", endpoint: "default", account: Some("acct_1"), .. }, Thing { id: "cus_1", amount: 7 }, Before { amount: Some(5), name: None })"#,
            r#"(EventId("evt_2"), EventType("customer.updated"), Account("acct_1"), Livemode(true), "hats")"#,
        ]
    );
    assert!(report.handlers().iter().all(HandlerReport::is_done));
}

#[on_event("v1.billing.meter.no_meter_found", "invoice.paid", "customer.updated")]
async fn takes_what_may_be_absent(
    notes: State<Notes>,
    optional: (Option<Object<Thing>>, Option<Previous<Before>>, Option<RelatedObject>),
    account: Option<Account>,
    missing: Option<State<String>>,
) {
    notes.add((optional, account, missing.is_some()));
}

#[tokio::test]
async fn an_option_is_none_where_the_event_has_none_of_it() {
    let of = async |payload: &str| run::<takes_what_may_be_absent>(payload).await.0;
    assert_eq!(
        of(THIN).await,
        [
            r#"((None, None, Some(RelatedObject { id: Some("mtr_1"), type: Some("billing.meter"), url: Some("/v1/billing/meters/mtr_1") })), None, false)"#
        ]
    );
    assert_eq!(
        of(&payload("invoice.paid")).await,
        [r#"((Some(Object(Thing { id: "obj_1", amount: 2000 })), None, None), None, false)"#]
    );
    assert_eq!(
        of(&updated()).await,
        [
            r#"((Some(Object(Thing { id: "cus_1", amount: 7 })), Some(Previous(Before { amount: Some(5), name: None })), None), Some(Account("acct_1")), false)"#
        ]
    );
}

/// `None` would hide that the handler's type and Stripe's object have come apart.
#[tokio::test]
async fn what_is_there_and_cannot_be_read_is_not_none() {
    let unreadable = payload("invoice.paid").replace("2000", r#""much""#);
    let (notes, report) = run::<takes_what_may_be_absent>(&unreadable).await;
    assert!(notes.is_empty(), "the handler was called");
    let (permanent, text) = failure(&report);
    assert!(permanent && text.starts_with("`data.object` does not decode at `amount`: "), "{text}");
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
async fn a_result_shows_why_an_argument_could_not_be_made() {
    let (notes, report) = run::<takes_results>(&payload("invoice.paid")).await;
    assert_eq!(
        notes,
        [
            r#"(true, Err("the event has no `data.previous_attributes`: a thin event only names its object, and only an `*.updated` event has previous attributes"))"#
        ]
    );
    assert!(report.handlers()[0].is_done());
}

#[on_event("invoice.paid")]
async fn needs_an_account(account: Account, notes: State<Notes>) {
    notes.add(account);
}

#[tokio::test]
async fn a_missing_argument_fails_the_handler_for_good_and_says_what_to_take() {
    let (notes, report) = run::<needs_an_account>(&payload("invoice.paid")).await;
    assert!(notes.is_empty(), "the handler was called");
    let text = "the event names no connected account; take an `Option<Account>`";
    assert_eq!(failure(&report), (true, text.to_owned()));
}

/// An extractor of a user's own, that fetches, from several needs.
struct Customer(String);

impl FromEvent for Customer {
    type Needs = (State<Shop>, Option<State<u16>>);

    async fn from_event(event: &Event, (shop, floor): Self::Needs) -> Result<Self, Rejection> {
        tokio::task::yield_now().await;
        match event.livemode() {
            Some(true) => Err("the database is away".into()),
            _ => Ok(Self(format!("of {}, {:?}", shop.0.0, floor.map(|floor| *floor)))),
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
async fn fetches(customer: Customer, nobody: Option<Customer>, notes: State<Notes>) {
    notes.add((customer.0, nobody.is_none()));
}

#[tokio::test]
async fn an_extractor_of_ones_own_may_wait_and_its_failure_is_tried_again() {
    let (notes, report) = run::<fetches>(&payload("invoice.paid")).await;
    assert_eq!(notes, [r#"("of hats, None", true)"#]);
    assert!(!report.needs_retry());

    let (notes, report) = run::<fetches>(&updated()).await;
    assert!(notes.is_empty(), "the handler was called");
    assert_eq!(failure(&report), (false, "the database is away".to_owned()));
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
async fn a_trait_object_is_shared_as_what_it_is() {
    let notes = Arc::new(Notes::default());
    let mailer: Arc<dyn Mailer> = Arc::new(Smtp);
    let router = Router::builder().only::<mails>().shared_state(mailer).shared_state(notes.clone());
    let event = event(payload("invoice.paid")).unwrap();
    assert!(router.build().unwrap().oneshot(event).await.unwrap().handlers()[0].is_done());
    assert_eq!(notes.take(), [r#""smtp""#]);
}

#[on_unhandled]
async fn the_rest(event_type: EventType, notes: State<Notes>) -> Result<(), &'static str> {
    notes.add((event_type.is_known(), event_type));
    Err("nothing depends on it")
}

#[tokio::test]
async fn what_no_handler_is_for_goes_to_the_handler_of_the_rest_and_is_still_unhandled() {
    let notes = Arc::new(Notes::default());
    let router = Router::builder()
        .without_linked()
        .add::<takes_results>()
        .add::<the_rest>()
        .shared_state(notes.clone())
        .build()
        .unwrap();
    for event_type in ["invoice.voided", "coffee.made", "invoice.paid"] {
        let event = event(payload_with_id(event_type, event_type)).unwrap();
        let report = router.clone().oneshot(event).await.unwrap();
        assert_eq!(report.is_unhandled(), event_type != "invoice.paid");
        assert!(!report.needs_retry(), "its failure asks for nothing");
    }
    let [known, unknown, handled] = &notes.take()[..] else { panic!("not three") };
    assert_eq!(known, r#"(true, EventType("invoice.voided"))"#);
    assert_eq!(unknown, r#"(false, EventType("coffee.made"))"#);
    assert!(handled.starts_with("(true, Err("), "{handled}");
}
