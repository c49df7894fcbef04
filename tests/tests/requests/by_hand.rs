//! Handlers registered by hand: functions and closures that take extractors.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use std::sync::{Arc, Mutex};

use router_core::{
    Event, EventId, Failure, IdempotencyKey, Object, Outcome, Router, State,
    build::{NameError, Problem},
    delivery::{Delivery, DeliveryService, ProvidedType},
    event::RelatedObject,
    extract::{Account, Attempt, EventType, PerDelivery},
    handler::HandlerReport,
};
use router_inbox::{Tx, sqlx::Sqlite};
use router_tests::{event, payload};
use tower::ServiceExt as _;

#[derive(serde::Deserialize)]
struct Thing {
    amount: u64,
}

/// Notes of the handlers of a test, in order.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn add(&self, note: String) {
        self.0.lock().unwrap().push(note);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[expect(clippy::too_many_arguments, reason = "eight is the maximum")]
async fn eight(
    event: Event,
    id: EventId,
    event_type: EventType,
    thing: Object<Thing>,
    notes: State<Notes>,
    key: IdempotencyKey,
    account: Option<Account>,
    attempt: Attempt,
) -> Result<(), Failure> {
    assert_eq!((event.id(), account), (&*id, None));
    notes.add(format!("{event_type} {} {} {}", thing.amount, key.len(), attempt.number()));
    Ok(())
}

async fn nothing() -> Outcome {
    Outcome::ignored("no argument")
}

#[tokio::test]
async fn functions_and_closures_take_extractors() {
    let notes = Arc::new(Notes::default());
    let router = Router::builder()
        .shared_state(notes.clone())
        .handler("a.eight", ["invoice.paid"], eight)
        .handler("b.nothing", ["invoice.paid"], nothing)
        .handler("c.closure", ["invoice.*"], async |id: EventId, notes: State<Notes>| {
            notes.add(id.to_string());
        })
        .handler("d.rejected", ["invoice.paid"], async |_: Object<Vec<u8>>| {})
        .build()
        .unwrap();
    assert_eq!(router.startup_report().warnings, [], "the state is used");
    let report = router.oneshot(event(payload("invoice.paid")).unwrap()).await.unwrap();
    assert_eq!(notes.take(), ["invoice.paid 2000 32 1", "evt_1"]);
    let outcomes: Vec<_> = report.handlers().iter().map(HandlerReport::outcome).collect();
    assert_eq!(outcomes, ["done", "ignored", "done", "dead"]);
}

struct Transaction;

/// A delivery service that provides a `Transaction` with each delivery.
struct Queue;

impl DeliveryService for Queue {
    fn provides(&self) -> Vec<ProvidedType> {
        vec![ProvidedType::of::<Transaction>()]
    }
}

#[tokio::test]
async fn function_takes_a_resource_of_the_delivery_service() {
    async fn write(_: PerDelivery<Transaction>, attempt: Attempt) -> Result<(), String> {
        Err(format!("{} of {:?}", attempt.number(), attempt.max()))
    }

    let builder = Router::builder().handler("shop.write", ["invoice.paid"], write);
    let router = builder.delivered_by(&Queue).build().unwrap();
    let event = event(payload("invoice.paid")).unwrap();
    let delivery = Delivery::new(event, "shop.write", 3).provide(Transaction);
    let report = router.oneshot(delivery).await.unwrap();
    assert_eq!(report.result().unwrap_err().to_string(), "3 of Some(12)");
}

#[test]
fn build_refuses_the_names_that_the_macro_refuses() {
    let fixture = include_str!("../../compile/fail/name_with_white_space.rs");
    let names = ["orders paid", "", "orders\u{3000}paid", "orders\u{7}paid"];
    assert_eq!(fixture.matches("name = ").count(), names.len());
    for name in names {
        assert!(fixture.contains(&format!("name = {name:?}")), "{name:?}");
        let error = Router::builder().handler(name, ["*"], async || {}).build().unwrap_err();
        let [Problem::InvalidName { error: NameError::NotOneWord, .. }] = error.problems() else {
            panic!("{error}")
        };
    }
}

#[test]
fn build_refuses_names_longer_than_255_bytes() {
    let build = |name: &str| {
        let builder = Router::builder().without_linked();
        builder.handler(name, ["*"], async || {}).build()
    };
    build(&"n".repeat(255)).unwrap();
    let error = build(&"é".repeat(128)).unwrap_err();
    let [problem @ Problem::InvalidName { error: NameError::TooLong(256), .. }] = error.problems()
    else {
        panic!("{error}")
    };
    let lines = problem.to_string();
    let lines: Vec<_> = lines.lines().collect();
    let message = "a handler's name must have at most 255 bytes, but has 256";
    assert!(lines[0].starts_with(message), "{error}");
    assert!(lines[2].starts_with("help: pass a shorter name to `.handler(...)`"), "{error}");
}

#[test]
fn build_checks_the_arguments_of_functions() {
    async fn twice(_: PerDelivery<Transaction>, _: PerDelivery<Transaction>) {}
    async fn no_inbox(_: Tx<Sqlite>) {}

    let error = Router::builder()
        .handler("a.state", ["invoice.paid"], async |_: State<Notes>| {})
        .handler("b.thin", ["v1.billing.meter.no_meter_found"], async |_: Object<Thing>| {})
        .handler("c.snapshot", ["invoice.paid"], async |_: RelatedObject, _: Event| {})
        .handler("d.every", ["*"], async |_: (EventId, Object<Thing>)| {})
        .handler("e.optional", ["*"], async |_: Option<Object<Thing>>| {})
        .handler("f.unknown", ["coffee.made", "no type"], async |_: RelatedObject| {})
        .handler("g.twice", ["invoice.paid"], twice)
        .handler("h.no_inbox", ["invoice.paid"], no_inbox)
        .build()
        .unwrap_err();
    let found: Vec<_> = error
        .problems()
        .iter()
        .filter_map(|problem| match problem {
            Problem::MissingState { handlers, .. } => Some(("state", &*handlers[0].name)),
            Problem::NotProvided { handlers, .. } => Some(("not provided", &*handlers[0].name)),
            Problem::DuplicateArgument { handler, .. } => Some(("duplicate", &*handler.name)),
            Problem::ArgumentNotCarried { handler, .. } => Some(("not carried", &*handler.name)),
            _ => None,
        })
        .collect();
    let expected = [
        ("state", "a.state"),
        ("not provided", "g.twice"),
        ("not provided", "h.no_inbox"),
        ("duplicate", "g.twice"),
        ("not carried", "b.thin"),
        ("not carried", "c.snapshot"),
        ("not carried", "d.every"),
    ];
    assert_eq!(found, expected, "{error}");
    let text = error.to_string();
    for part in [
        "this handler cannot take a `Object<Thing>`: \
         `v1.billing.meter.no_meter_found` is a thin event, which carries no object",
        "`invoice.paid` is a snapshot event, which carries its object",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
