//! Synthetic events pass the real endpoint and router like events of Stripe.

use std::time::{Duration, UNIX_EPOCH};

use http_body_util::BodyExt as _;
use proptest::{prelude::*, sample::select, test_runner::RngSeed};
use router_catalog::{Kind, all};
use router_core::{
    Event, Router,
    testing::{Payload, SyntheticEvent, TestRouter},
};
use router_tests::{NOW, secret};
use serde_json::{Value, json};

#[tokio::test]
async fn every_catalog_event_reaches_its_handler() {
    let by_type = all().iter().fold(Router::builder(), |router, known| {
        router.handler(known.name, [known.name], async |_: Event| ())
    });
    let shop = TestRouter::new(by_type).unwrap();
    for known in all() {
        let payload = SyntheticEvent::new(known.name).build().unwrap();
        let answer = shop.deliver(&payload).await;
        assert_eq!(answer.status(), 200, "{}", known.name);
        assert!(answer.handler(known.name).is_done(), "{}", known.name);
        let event = answer.report().unwrap().event();
        assert_eq!((event.id(), event.event_type()), (payload.id(), known.name));
        assert_eq!(event.is_thin(), known.kind == Kind::Thin);
        assert_eq!(event.livemode(), Some(false));
        assert!(event.created().is_some());
        let related = event.related_object();
        let related = related.as_ref().and_then(|object| object.object_type());
        let object = event.decode_object::<Value>().ok();
        let object = object.as_ref().and_then(|object| object["object"].as_str());
        match object.or(related) {
            Some(carried) => assert!(known.carries(carried), "{}: {carried}", known.name),
            None => assert_eq!(known.object, None, "{}", known.name),
        }
    }
}

#[test]
fn synthetic_event_has_the_configured_fields() {
    let created = UNIX_EPOCH + Duration::from_secs(NOW);
    let payload = SyntheticEvent::new("invoice.paid")
        .set("amount_paid", 500)
        .set_text("lines.data[0].quantity", "2")
        .previous("status", "open")
        .account("acct_1")
        .api_version("2020-08-27")
        .livemode(true)
        .id("evt_1")
        .created(created)
        .build()
        .unwrap();
    let event = payload.event();
    assert_eq!((payload.id(), payload.event_type()), ("evt_1", "invoice.paid"));
    assert_eq!((event.account(), event.api_version()), (Some("acct_1"), Some("2020-08-27")));
    assert_eq!((event.livemode(), event.created()), (Some(true), Some(created)));
    let object: Value = event.decode_object().unwrap();
    assert_eq!((&object["amount_paid"], &object["livemode"]), (&json!(500), &json!(true)));
    assert_eq!(object["lines"]["data"][0]["quantity"], 2);
    assert_eq!(event.decode_previous_attributes::<Value>().unwrap()["status"], "open");
}

#[test]
fn configured_previous_attributes_replace_defaults() {
    let previous_attributes = |event: SyntheticEvent| {
        let payload = event.build().unwrap();
        payload.event().decode_previous_attributes::<Value>().unwrap()
    };
    let update = SyntheticEvent::new("customer.subscription.updated");
    assert!(previous_attributes(update.clone()).get("status").is_some());
    let update = update.set("cancel_at_period_end", true).previous("cancel_at_period_end", false);
    assert_eq!(previous_attributes(update), json!({"cancel_at_period_end": false}));
}

#[test]
fn thin_event_corresponds_to_snapshot_event() {
    let thin = SyntheticEvent::new("invoice.paid").thin().account("acct_1").seed(3);
    let thin = thin.build().unwrap();
    assert_eq!(thin.event_type(), "v1.invoice.paid");
    assert_eq!(thin.event().context(), Some("acct_1"));
    let snapshot = SyntheticEvent::new("invoice.paid").seed(3).build().unwrap();
    let invoice: Value = snapshot.event().decode_object().unwrap();
    assert_eq!(thin.event().related_object().unwrap().id().unwrap(), invoice["id"]);
    // `thin` does not change a thin event.
    let same = SyntheticEvent::new("v1.invoice.paid").thin().build().unwrap();
    assert_eq!(same.event_type(), "v1.invoice.paid");
}

#[test]
fn event_ids_are_equal_only_with_equal_seeds() {
    let id = |event: SyntheticEvent| event.build().unwrap().id().to_owned();
    assert_ne!(id(SyntheticEvent::new("invoice.paid")), id(SyntheticEvent::new("invoice.paid")));
    let seeded = |seed| id(SyntheticEvent::new("invoice.paid").seed(seed));
    assert_eq!(seeded(7), seeded(7));
    assert_ne!(seeded(7), seeded(8));
}

#[test]
fn unlisted_event_carries_the_given_object() {
    let object = json!({"id": "ag_1", "object": "agreement", "status": "signed"});
    let event = SyntheticEvent::unlisted("agreement.signed", object).set("terms.days", 30);
    let payload = event.build().unwrap();
    assert_eq!(payload.event_type(), "agreement.signed");
    let object: Value = payload.event().decode_object().unwrap();
    assert_eq!((&object["status"], &object["terms"]["days"]), (&json!("signed"), &json!(30)));
}

#[test]
fn invalid_event_fails_with_an_explanation() {
    let invoice = || SyntheticEvent::new("invoice.paid");
    for (event, text) in [
        (
            SyntheticEvent::new("invoice.payed"),
            "Stripe has no event type `invoice.payed`; did you mean `invoice.paid`?",
        ),
        (
            SyntheticEvent::new("weather.changed"),
            "Stripe has no event type `weather.changed` in API version 2026-10-28.endive; \
             `SyntheticEvent::unlisted` makes an event of any type",
        ),
        (
            SyntheticEvent::new("customer.source.created").carrying("charge"),
            "`customer.source.created` cannot carry `charge`, only account or bank_account or card or source",
        ),
        (
            SyntheticEvent::new("reporting.report_run.failed").thin(),
            "there is no thin event for `reporting.report_run.failed`",
        ),
        (
            invoice().set("amout_paid", 1),
            "invoice.paid: `invoice` has no field `amout_paid`; did you mean `amount_paid`?",
        ),
        (
            invoice().previous("amout_paid", 1),
            "invoice.paid: `invoice` has no field `amout_paid`; did you mean `amount_paid`?",
        ),
        (
            invoice().set("metadata", std::collections::HashMap::from([((1, 2), 3)])),
            "invoice.paid: the value for `metadata` cannot be serialized to JSON: key must be a string",
        ),
        (
            SyntheticEvent::new("v1.invoice.paid").set("type", 7),
            "v1.invoice.paid: the payload is not an event: the field `type` should be a string, but is a number \
             (line 11, column 11)",
        ),
    ] {
        assert_eq!(event.build().unwrap_err().to_string(), text);
    }
}

#[tokio::test]
async fn payload_body_is_formatted_like_stripes() {
    let payload = SyntheticEvent::new("invoice.paid").id("evt_1").build().unwrap();
    let body = std::str::from_utf8(payload.body()).unwrap();
    assert!(
        body.starts_with("{\n  \"id\": \"evt_1\",\n  \"object\": \"event\",\n  \"api_version\""),
        "{body}"
    );
    let request = payload.request(&secret());
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/webhook"));
    assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), payload.body());
}

#[test]
fn recorded_payload_keeps_id_and_body() {
    let payload = SyntheticEvent::new("invoice.paid").build().unwrap();
    let recorded = Payload::recorded(payload.body().clone()).unwrap();
    assert_eq!((recorded.id(), recorded.body()), (payload.id(), payload.body()));
    assert!(Payload::recorded("{}").is_err());
}

/// Parts of field paths, valid and invalid ones.
const PATH_PARTS: [&str; 16] = [
    "id",
    "object",
    "data",
    "lines",
    "items",
    "metadata",
    "customer",
    "related_object",
    ".",
    ".",
    "[0]",
    "[1]",
    "[18446744073709551615]",
    "[",
    "]",
    "\u{e9}",
];

const VALUES: [&str; 8] =
    ["null", "7", "-0.5", "text", "[]", "[null]", "{}", r#"{"data":[{"id":7}]}"#];

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_edit_builds_an_event_or_fails(
        event_type in select(all()).prop_map(|known| known.name),
        edits in prop::collection::vec((prop::collection::vec(select(&PATH_PARTS[..]), 1..6), select(&VALUES[..])), 1..4),
    ) {
        let event = edits.into_iter().fold(SyntheticEvent::new(event_type), |event, (path, value)| {
            event.set_text(path.concat(), value).previous(path.concat(), value)
        });
        if let Ok(payload) = event.build() {
            prop_assert!(Payload::recorded(payload.body().clone()).is_ok());
        }
    }
}
