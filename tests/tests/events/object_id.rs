//! The identity of an event's object, by which events are ordered and locked.

use router_catalog::{Kind, all};
use router_core::{Event, event::ObjectId, testing::SyntheticEvent};
use router_tests::event;
use serde_json::{Value, json};

fn snapshot(object: &Value) -> Event {
    let body = json!({
        "id": "evt_1", "object": "event", "type": "invoice.upcoming", "data": {"object": object},
    });
    event(body.to_string()).expect("the payload is an event")
}

fn thin(related: &Value) -> Event {
    let body = json!({
        "id": "evt_1", "object": "v2.core.event", "type": "v1.cash_balance.funds_available",
        "created": "2026-01-01T00:00:00.000Z", "related_object": related,
    });
    event(body.to_string()).expect("the payload is an event")
}

fn object_id(event: &Event) -> Option<String> {
    event.object_id().map(|object| object.to_string())
}

#[test]
fn object_is_identified_by_its_id_or_by_its_owner() {
    for (object, expected) in [
        // The id comes first.
        (json!({"id": "in_1", "object": "invoice", "customer": "cus_1"}), Some("in_1")),
        (json!({"id": "in_1"}), Some("in_1")),
        // The subscription comes before the customer, and may be expanded.
        (
            json!({"object": "invoice", "customer": "cus_1", "subscription": "sub_1"}),
            Some("invoice:sub_1"),
        ),
        (
            json!({"object": "invoice", "subscription": {"id": "sub_1", "status": "active"}}),
            Some("invoice:sub_1"),
        ),
        (
            json!({
                "object": "invoice", "customer": "cus_1",
                "parent": {"subscription_details": {"subscription": "sub_1"}},
            }),
            Some("invoice:sub_1"),
        ),
        (
            json!({
                "object": "invoice",
                "parent": {"subscription_details": {"subscription": {"id": "sub_1"}}},
            }),
            Some("invoice:sub_1"),
        ),
        // Fields that are null, empty or of another type count as absent.
        (
            json!({"id": null, "object": "invoice", "subscription": null, "customer": "cus_1"}),
            Some("invoice:cus_1"),
        ),
        (
            json!({"id": "", "object": "invoice", "subscription": "", "customer": {"id": "cus_1"}}),
            Some("invoice:cus_1"),
        ),
        (
            json!({"id": 7, "object": "invoice", "parent": "x", "subscription": 7, "customer": "cus_1"}),
            Some("invoice:cus_1"),
        ),
        (
            json!({"object": "cash_balance", "customer": null, "customer_account": "acct_1"}),
            Some("cash_balance:acct_1"),
        ),
        // An account has one balance.
        (json!({"object": "balance", "available": []}), Some("balance")),
        (json!({"object": "tax.settings"}), Some("tax.settings")),
        // Nothing distinguishes these objects from others of the same name.
        (json!({"object": "invoice"}), None),
        (json!({"object": "invoice", "customer": {"name": "Jenny"}}), None),
        (json!({"customer": "cus_1"}), None),
        (json!({}), None),
    ] {
        assert_eq!(object_id(&snapshot(&object)).as_deref(), expected, "{object}");
    }
}

#[test]
fn related_object_is_identified_by_its_id_or_by_its_url() {
    let cash_balance = |url: &str| json!({"type": "cash_balance", "url": url});
    for (related, expected) in [
        (json!({"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"}), Some("in_1")),
        (json!({"type": "balance", "url": "/v1/balance"}), Some("balance")),
        (json!({"id": "", "type": "balance"}), Some("balance")),
        (cash_balance("/v1/customers/cus_1/cash_balance"), Some("cash_balance:cus_1")),
        (cash_balance("/v1/customers"), None),
        (cash_balance("/v1/customers/"), None),
        (json!({"type": "invoice"}), None),
        (json!({"url": "/v1/customers/cus_1/cash_balance"}), None),
        (Value::Null, None),
    ] {
        assert_eq!(object_id(&thin(&related)).as_deref(), expected, "{related}");
    }
}

#[test]
fn snapshot_and_thin_event_of_one_object_have_equal_object_ids() {
    for event_type in ["invoice.paid", "balance.available", "cash_balance.funds_available"] {
        let of_account = |event: SyntheticEvent| {
            let payload = event.account("acct_1").build().expect("the event is valid");
            payload.event().object_id().expect("the object has an identity")
        };
        let snapshot = of_account(SyntheticEvent::new(event_type));
        assert_eq!(snapshot.account(), Some("acct_1"), "{event_type}");
        assert_eq!(snapshot, of_account(SyntheticEvent::new(event_type).thin()), "{event_type}");
    }
}

#[test]
fn object_id_is_determined_once_for_all_clones() {
    let event = snapshot(&json!({"id": "in_1"}));
    // Both are alive, so that equal addresses mean one allocation.
    let (first, second) = (event.clone().object_id(), event.object_id());
    let address = |object: &Option<ObjectId>| {
        object.as_ref().expect("the object has an identity").as_str().as_ptr()
    };
    assert_eq!(address(&first), address(&second));
}

#[test]
fn account_comes_from_the_end_of_the_context() {
    let of_context = |account: Option<&str>, context: &str| {
        let body = json!({
            "id": "evt_1", "object": "event", "type": "invoice.paid", "account": account,
            "context": context, "data": {"object": {"id": "in_1"}},
        });
        object_id(&event(body.to_string()).expect("the payload is an event"))
    };
    assert_eq!(of_context(None, "acct_1").as_deref(), Some("acct_1/in_1"));
    assert_eq!(of_context(None, "org_1/acct_1").as_deref(), Some("acct_1/in_1"));
    assert_eq!(of_context(None, "acct_1/acct_2").as_deref(), Some("acct_2/in_1"));
    assert_eq!(of_context(Some("acct_3"), "org_1/acct_1").as_deref(), Some("acct_3/in_1"));
    for context in ["", "org_1", "acct_1/", "acct_1/org_1"] {
        assert_eq!(of_context(None, context).as_deref(), Some("in_1"), "{context}");
    }
}

/// Fails if Stripe adds an object without an id that belongs to nothing, such as a further setting
/// of an account.
#[test]
fn every_object_in_the_catalog_has_an_identity() {
    for known in all() {
        let payload = SyntheticEvent::new(known.name).build().expect("the event is valid");
        let names_no_object = known.kind == Kind::Thin && known.object.is_none();
        assert_eq!(payload.event().object_id().is_none(), names_no_object, "{}", known.name);
    }
}
