//! Samples exist for every event type, are plausible, and are reproducible from the seed.

use std::collections::BTreeSet;

use router_catalog::{
    Kind, all,
    samples::{PathError, Sampler, objects},
};
use serde_json::{Value, json};

const NOW: u64 = 1_790_000_000;

#[test]
fn every_event_type_and_object_has_a_sample() {
    let sampler = Sampler::new(0, NOW);
    let mut ids = BTreeSet::new();
    for known in all() {
        let event = sampler.event(known.name).unwrap_or_else(|| panic!("{}", known.name));
        let event = event.into_json();
        assert_eq!(event["type"], known.name);
        assert!(ids.insert(event["id"].to_string()), "duplicate id: {}", known.name);
        let (event_object, object) = match known.kind {
            Kind::Snapshot => ("event", &event["data"]["object"]["object"]),
            Kind::Thin => ("v2.core.event", &event["related_object"]["type"]),
        };
        assert_eq!(event["object"], event_object);
        if known.objects().next().is_some() {
            assert!(known.objects().any(|name| object == name), "{}", known.name);
        } else {
            assert!(object.is_null(), "{}", known.name);
        }
    }
    for name in objects() {
        assert_eq!(sampler.object(name).unwrap()["object"], name);
    }
    assert!(sampler.event("invoice.payed").is_none());
    assert!(sampler.object("invoise").is_none());
}

#[test]
fn nested_object_equals_object_alone() {
    let sampler = Sampler::new(0, NOW);
    let outer = sampler.object("billing.alert_triggered").unwrap();
    assert_eq!(Some(&outer["alert"]), sampler.object("billing.alert").as_ref());
}

#[test]
fn event_is_determined_by_seed_and_time() {
    let event = |seed, now| Sampler::new(seed, now).event("charge.refunded").unwrap().into_json();
    assert_eq!(event(1, NOW), event(1, NOW));
    assert_ne!(event(1, NOW)["id"], event(2, NOW)["id"]);
    assert_ne!(event(1, NOW)["data"]["object"]["id"], event(2, NOW)["data"]["object"]["id"]);
    assert_eq!(event(1, NOW)["id"], event(1, NOW + 1)["id"]);
    assert_eq!(event(1, NOW + 1)["created"], NOW + 1);
}

#[test]
fn event_carries_requested_object() {
    let sampler = Sampler::new(0, NOW);
    let event = sampler.event_with("customer.source.created", "source").unwrap();
    assert_eq!(event.object().unwrap()["object"], "source");
    let event = sampler.event("customer.source.created").unwrap();
    assert_eq!(event.object().unwrap()["object"], "card", "a rule selects the card");
    assert!(sampler.event_with("customer.source.created", "charge").is_none());
    assert!(sampler.event_with("v1.invoice.paid", "invoice").is_none());
}

#[test]
fn thin_event_of_singleton_has_no_related_id() {
    let sampler = Sampler::new(0, NOW);
    for (event_type, object, url) in [
        ("v1.balance.available", "balance", "/v1/balance".to_owned()),
        (
            "v1.customer.discount.created",
            "discount",
            format!("/v1/customers/{}/discount", sampler.id("customer").unwrap()),
        ),
    ] {
        let event = sampler.event(event_type).unwrap().into_json();
        assert_eq!(event["related_object"], json!({"type": object, "url": url}));
    }
    // The rule that removes the id does not create `related_object` in an event without one.
    let event = sampler.event("v1.customer.discount.source_changed").unwrap().into_json();
    assert_eq!(event.get("related_object"), None);
}

#[test]
fn upcoming_invoice_has_no_id() {
    let sampler = Sampler::new(0, NOW);
    let event = sampler.event("invoice.upcoming").unwrap();
    let invoice = event.object().unwrap();
    assert_eq!(invoice.get("id"), None);
    assert_eq!(invoice["lines"]["data"][0]["invoice"], Value::Null);
    assert_eq!(
        invoice["parent"]["subscription_details"]["subscription"],
        sampler.id("subscription").unwrap()
    );
}

#[test]
fn livemode_applies_to_event_and_object() {
    let sampler = Sampler::new(0, NOW).livemode(true);
    let event = sampler.event("invoice.paid").unwrap().into_json();
    assert_eq!(
        (&event["livemode"], &event["data"]["object"]["livemode"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(sampler.event("v1.invoice.paid").unwrap().into_json()["livemode"], true);
    assert!(sampler.id("checkout.session").unwrap().starts_with("cs_live_"));
    assert!(!sampler.id("v2.core.event").unwrap().contains("test"));
}

#[test]
fn set_accepts_any_path_of_the_shape() {
    let mut event = Sampler::new(0, NOW).event("invoice.paid").unwrap();
    for (path, value) in [
        ("amount_paid", json!(500)),
        ("lines.data[0].quantity", json!(2)),
        ("metadata.order_id", json!("6735")),
        ("metadata[order.id]", json!("6736")),
        // A field of an object that is null in the sample.
        ("customer_address.city", json!("Berlin")),
        // An index equal to the length appends an element.
        ("lines.data[1].amount", json!(700)),
        // A value of the wrong type.
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
fn set_text_parses_by_field_type() {
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
fn set_changes_thin_event_itself() {
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
fn set_previous_sets_previous_attributes() {
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
fn invalid_path_error_names_failing_part() {
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
            "`status_transitions` has no field `zzzzzzzz`; its fields are finalized_at, \
             marked_uncollectible_at, paid_at, voided_at",
        ),
        ("customer.email", "`customer` is the id of an object and has no fields"),
        ("status.word", "`status` is a string and has no fields"),
        ("amount_paid[0]", "`amount_paid` is a number and has no elements"),
        ("lines.data[3]", "`lines.data` has 1 element; use `lines.data[1]` to append one"),
        (
            "lines..data",
            "`lines..data` is not a valid path: write field names separated by dots and indexes in \
             brackets, as in `lines.data[0].quantity`",
        ),
    ] {
        assert_eq!(event.set(path, json!(1)).unwrap_err().to_string(), text);
    }
}

#[test]
fn object_state_fits_event_type() {
    for (event_type, pointer, value) in [
        ("payment_intent.succeeded", "/status", json!("succeeded")),
        ("payment_intent.payment_failed", "/status", json!("requires_payment_method")),
        ("payment_intent.canceled", "/status", json!("canceled")),
        ("charge.refunded", "/refunded", json!(true)),
        ("charge.dispute.created", "/status", json!("needs_response")),
        ("checkout.session.completed", "/payment_status", json!("paid")),
        ("checkout.session.expired", "/status", json!("expired")),
        ("customer.subscription.deleted", "/status", json!("canceled")),
        ("customer.subscription.trial_will_end", "/status", json!("trialing")),
        ("invoice.paid", "/status", json!("paid")),
        ("invoice.paid", "/amount_remaining", json!(0)),
        ("invoice.payment_failed", "/status", json!("open")),
        ("invoice.voided", "/status", json!("void")),
        ("payout.failed", "/status", json!("failed")),
        ("setup_intent.succeeded", "/status", json!("succeeded")),
    ] {
        let event = Sampler::new(0, NOW).event(event_type).unwrap();
        assert_eq!(
            event.object().unwrap().pointer(pointer),
            Some(&value),
            "{event_type} {pointer}"
        );
    }
    for (event_type, left, right) in [
        ("payment_intent.succeeded", "/amount", "/amount_received"),
        ("charge.refunded", "/amount", "/amount_refunded"),
        ("invoice.paid", "/amount_due", "/amount_paid"),
        ("invoice.paid", "/total", "/lines/data/0/amount"),
        ("customer.subscription.updated", "/id", "/items/data/0/subscription"),
    ] {
        let event = Sampler::new(3, NOW).event(event_type).unwrap();
        let [left, right] = [left, right].map(|pointer| event.object().unwrap().pointer(pointer));
        assert!(left.is_some() && left == right, "{event_type}: {left:?} and {right:?}");
    }
}

#[test]
fn events_of_one_seed_are_consistent() {
    let sampler = Sampler::new(5, NOW);
    for (event_type, pointer, name) in [
        ("payment_intent.succeeded", "/customer", "customer"),
        ("payment_intent.succeeded", "/latest_charge", "charge"),
        ("charge.succeeded", "/payment_intent", "payment_intent"),
        ("charge.dispute.created", "/charge", "charge"),
        ("refund.created", "/charge", "charge"),
        ("checkout.session.completed", "/payment_intent", "payment_intent"),
        ("customer.subscription.created", "/customer", "customer"),
        ("invoice.paid", "/parent/subscription_details/subscription", "subscription"),
        ("payment_method.attached", "/customer", "customer"),
    ] {
        let event = sampler.event(event_type).unwrap();
        let reference = event.object().unwrap().pointer(pointer);
        assert_eq!(reference, Some(&sampler.object(name).unwrap()["id"]), "{event_type} {pointer}");
    }
    let amount = |event_type, field: &str| {
        sampler.event(event_type).unwrap().object().unwrap()[field].clone()
    };
    let paid = amount("payment_intent.succeeded", "amount");
    assert!(paid.as_i64() > Some(0));
    for (event_type, field) in [
        ("charge.succeeded", "amount"),
        ("invoice.paid", "amount_paid"),
        ("checkout.session.completed", "amount_total"),
        ("charge.refunded", "amount_refunded"),
    ] {
        assert_eq!(amount(event_type, field), paid, "{event_type}");
    }
}

#[test]
fn update_has_previous_attributes_that_differ() {
    let updates = all()
        .iter()
        .filter(|known| known.kind == Kind::Snapshot && known.name.ends_with(".updated"))
        .flat_map(|known| known.objects().map(|object| (known.name, object)));
    for (event_type, object) in updates {
        let event = Sampler::new(0, NOW).event_with(event_type, object).unwrap().into_json();
        let previous = event["data"]["previous_attributes"].as_object();
        let previous = previous.unwrap_or_else(|| panic!("{event_type} of {object}"));
        for (field, previous_value) in previous {
            let current = event["data"]["object"].get(field);
            assert!(
                current.is_some() && current != Some(previous_value),
                "{event_type} of {object}: previous {field} is {previous_value}"
            );
        }
    }
}

#[test]
fn samples_contain_no_filler_text() {
    fn check(value: &Value, field: &str, event_type: &str) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| check(value, name, event_type));
            }
            Value::Array(elements) => {
                elements.iter().for_each(|value| check(value, field, event_type));
            }
            Value::String(text) => {
                let is_filler = *text == field.replace('_', " ") || text == "string";
                assert!(!is_filler, "{event_type}: {field} is {text}");
            }
            _ => {}
        }
    }
    for known in all().iter().filter(|known| known.kind == Kind::Snapshot) {
        for object in known.objects() {
            let event = Sampler::new(0, NOW).event_with(known.name, object).unwrap();
            check(event.object().unwrap(), "object", known.name);
        }
    }
}

#[test]
fn extreme_seeds_and_times_produce_events() {
    for (seed, now) in [(u64::MAX, NOW), (7, 0), (8, u64::MAX)] {
        for known in all() {
            let event = Sampler::new(seed, now).event(known.name).unwrap().into_json();
            assert_eq!(event["type"], known.name);
        }
    }
}
