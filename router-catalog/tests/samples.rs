//! Samples are what the rules say: of every type, plausible, and the same for the same seed.
#![cfg(feature = "samples")]

use std::collections::BTreeSet;

use router_catalog::{
    Kind, all,
    samples::{PathError, Sampler, objects},
};
use serde_json::{Value, json};

const NOW: u64 = 1_790_000_000;

#[test]
fn there_is_an_event_of_every_type_and_an_object_of_every_name() {
    let sampler = Sampler::new(0, NOW);
    let mut ids = BTreeSet::new();
    for known in all() {
        let event = sampler.event(known.name).unwrap_or_else(|| panic!("{}", known.name));
        let event = event.into_json();
        assert_eq!(event["type"], known.name);
        assert!(ids.insert(event["id"].to_string()), "an id twice: {}", known.name);
        let (word, carried) = match known.kind {
            Kind::Snapshot => ("event", &event["data"]["object"]["object"]),
            Kind::Thin => ("v2.core.event", &event["related_object"]["type"]),
        };
        assert_eq!(event["object"], word);
        assert_eq!(carried.as_str(), known.objects().next(), "{}", known.name);
    }
    for name in objects() {
        assert_eq!(sampler.object(name).unwrap()["object"], name);
    }
    assert!(sampler.event("invoice.payed").is_none());
    assert!(sampler.object("invoise").is_none());
}

#[test]
fn an_object_within_another_is_made_as_it_is_alone() {
    let sampler = Sampler::new(0, NOW);
    let within = sampler.object("billing.alert_triggered").unwrap();
    assert_eq!(Some(&within["alert"]), sampler.object("billing.alert").as_ref());
}

#[test]
fn the_same_seed_and_time_make_the_same_event_and_others_make_another() {
    let event = |seed, now| Sampler::new(seed, now).event("charge.refunded").unwrap().into_json();
    assert_eq!(event(1, NOW), event(1, NOW));
    assert_ne!(event(1, NOW)["id"], event(2, NOW)["id"]);
    assert_ne!(event(1, NOW)["data"]["object"]["id"], event(2, NOW)["data"]["object"]["id"]);
    assert_eq!(event(1, NOW)["id"], event(1, NOW + 1)["id"]);
    assert_eq!(event(1, NOW + 1)["created"], NOW + 1);
}

#[test]
fn an_event_that_can_carry_several_objects_carries_the_one_that_is_asked_for() {
    let sampler = Sampler::new(0, NOW);
    let event = sampler.event_with("customer.source.created", "card").unwrap();
    assert_eq!(event.object().unwrap()["object"], "card");
    assert!(sampler.event_with("customer.source.created", "charge").is_none());
    assert!(sampler.event_with("v1.invoice.paid", "invoice").is_none());
}

#[test]
fn live_mode_is_that_of_the_event_and_of_its_object() {
    let sampler = Sampler::new(0, NOW).livemode(true);
    let event = sampler.event("invoice.paid").unwrap().into_json();
    assert_eq!(
        (&event["livemode"], &event["data"]["object"]["livemode"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(sampler.event("v1.invoice.paid").unwrap().into_json()["livemode"], true);
}

#[test]
fn a_field_is_set_wherever_the_shape_has_one() {
    let mut event = Sampler::new(0, NOW).event("invoice.paid").unwrap();
    for (path, value) in [
        ("amount_paid", json!(500)),
        ("lines.data[0].quantity", json!(2)),
        ("metadata.order_id", json!("6735")),
        ("metadata[order.id]", json!("6736")),
        // In what was null.
        ("customer_address.city", json!("Berlin")),
        // One more than there are.
        ("lines.data[1].amount", json!(700)),
        // Of another kind than it should be.
        ("currency", json!(7)),
    ] {
        event.set(path, value).unwrap();
    }
    let object = event.object().unwrap();
    assert_eq!(object["amount_paid"], 500);
    assert_eq!(object["lines"]["data"][0]["quantity"], 2);
    assert_eq!(object["metadata"], json!({"order_id": "6735", "order.id": "6736"}));
    assert_eq!(object["customer_address"]["city"], "Berlin");
    assert!(object["customer_address"].as_object().unwrap().contains_key("postal_code"));
    assert_eq!(object["lines"]["data"][1]["amount"], 700);
    assert_eq!(object["lines"]["data"][1]["object"], "line_item");
    assert_eq!(object["currency"], 7);
}

#[test]
fn text_is_read_as_the_field_wants_it() {
    let mut event = Sampler::new(0, NOW).event("invoice.paid").unwrap();
    for (path, text, value) in [
        ("amount_paid", "500", json!(500)),
        ("description", "500", json!("500")),
        ("description", "null", Value::Null),
        ("attempted", "true", json!(true)),
        ("status", "open", json!("open")),
        ("metadata", r#"{"a": "b"}"#, json!({"a": "b"})),
    ] {
        event.set_text(path, text).unwrap();
        assert_eq!(event.object().unwrap()[path], value, "{path} {text}");
    }
}

#[test]
fn a_thin_event_is_set_itself() {
    let mut event = Sampler::new(0, NOW).event("v1.invoice.paid").unwrap();
    event.set("related_object.id", json!("in_1")).unwrap();
    event.set("context", json!("acct_1")).unwrap();
    let error = event.set("amount_paid", json!(1)).unwrap_err();
    assert!(matches!(error, PathError::UnknownField { .. }), "{error}");
    let event = event.into_json();
    assert_eq!(
        (&event["related_object"]["id"], &event["context"]),
        (&json!("in_1"), &json!("acct_1"))
    );
}

#[test]
fn what_is_set_as_before_stands_in_previous_attributes() {
    let mut event = Sampler::new(0, NOW).event("invoice.paid").unwrap();
    event.set_previous("status", json!("open")).unwrap();
    event.set_previous("status_transitions.paid_at", Value::Null).unwrap();
    event.set_previous("stats", json!("open")).unwrap_err();
    assert_eq!(
        event.into_json()["data"]["previous_attributes"],
        json!({"status": "open", "status_transitions": {"paid_at": null}})
    );
}

#[test]
fn a_path_that_leads_nowhere_says_where_it_ends() {
    let mut event = Sampler::new(0, NOW).event("invoice.paid").unwrap();
    for (path, text) in [
        ("amout_paid", "`invoice` has no field `amout_paid`; did you mean `amount_paid`?"),
        ("lines.dta", "`lines` has no field `dta`; did you mean `data`?"),
        (
            "lines.data[0].qantity",
            "`lines.data[0]` has no field `qantity`; did you mean `quantity`?",
        ),
        (
            "status_transitions.zzzzzzzz",
            "`status_transitions` has no field `zzzzzzzz`; it has finalized_at, \
             marked_uncollectible_at, paid_at, voided_at",
        ),
        ("customer.email", "`customer` is the id of an object and has no fields"),
        ("status.word", "`status` is a string and has no fields"),
        ("amount_paid[0]", "`amount_paid` is a number and has no elements"),
        ("lines.data[3]", "`lines.data` has 1 element: the next one is `lines.data[1]`"),
        (
            "lines..data",
            "`lines..data` is no path: write names with dots between them and numbers in brackets, as in \
             `lines.data[0].quantity`",
        ),
    ] {
        assert_eq!(event.set(path, json!(1)).unwrap_err().to_string(), text);
    }
}
