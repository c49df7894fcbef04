//! The list of thin events, which has all of the account.

use router_core::{Event, event::AlreadyAuthenticated};
use router_stripe::reconcile::{Lookup, look_up};
use serde_json::json;

use crate::{
    events::{V1, V2, ago, missed, thin},
    shop::{HOUR, Shop},
};

fn thin_of_type(id: &str, event_type: &str) -> serde_json::Value {
    let mut event = thin(id, ago(HOUR));
    event["type"] = json!(event_type);
    event
}

#[tokio::test]
async fn thin_events_are_listed_only_if_a_handler_names_them() {
    for (patterns, is_listed) in [
        (&["invoice.paid"][..], false),
        (&["invoice.*", "*"], false),
        (&["v1.invoice.paid"], true),
        (&["v1.*"], true),
        (&["v2.core.account.*", "invoice.paid"], true),
    ] {
        let shop = Shop::of(patterns, |router| router).await;
        shop.stripe.add_item(V1, missed("evt_1", ago(HOUR)));
        shop.pass().await.expect("stub answers");
        let requests = shop.stripe.requests();
        assert!(requests.iter().any(|request| request.path.starts_with(V1)));
        let is_requested = requests.iter().any(|request| request.path.starts_with("/v2/"));
        assert_eq!(is_requested, is_listed, "{patterns:?}");
    }
}

#[tokio::test]
async fn thin_event_that_only_a_catch_all_takes_is_ignored() {
    let shop = Shop::of(&["v1.invoice.paid", "*"], |router| router).await;
    shop.stripe.add_item(V2, thin_of_type("evt_1", "v1.invoice.paid"));
    shop.stripe.add_item(V2, thin_of_type("evt_2", "v1.invoice.voided"));
    let summary = shop.pass().await.expect("stub answers");
    assert_eq!((summary.missed, summary.ignored), (1, 1), "{summary:?}");
    let calls = shop.calls().await;
    assert_eq!(calls.keys().map(String::as_str).collect::<Vec<_>>(), ["evt_1"]);
}

#[tokio::test]
async fn snapshot_event_is_missed_although_its_thin_event_is_stored() {
    let shop = Shop::of(&["invoice.paid"], |router| router).await;
    let mut twin = thin_of_type("evt_thin", "v1.invoice.paid");
    twin["snapshot_event"] = json!("evt_1");
    shop.webhook(&twin).await;
    shop.stripe.add_item(V1, missed("evt_1", ago(HOUR)));
    let summary = shop.pass().await.expect("stub answers");
    assert_eq!(summary.missed, 1, "{summary:?}");
    let calls = shop.calls().await;
    assert_eq!(calls.keys().map(String::as_str).collect::<Vec<_>>(), ["evt_1"]);
    assert_eq!(shop.pass().await.expect("stub answers").missed, 0);
}

#[tokio::test]
async fn snapshot_event_is_missed_although_its_thin_event_is_at_another_endpoint() {
    let mut shop = Shop::of(&["invoice.paid", "v1.invoice.paid"], |router| router).await;
    shop.inbox = shop.inbox.named("thin");
    let mut twin = thin_of_type("evt_thin", "v1.invoice.paid");
    twin["snapshot_event"] = json!("evt_1");
    shop.webhook(&twin).await;
    shop.inbox = shop.inbox.named("default");
    shop.webhook(&missed("evt_0", ago(HOUR))).await;
    shop.stripe.add_item(V1, missed("evt_1", ago(HOUR)));
    shop.reconcile = shop.reconcile.thin_endpoint("thin");
    let summary = shop.pass().await.expect("stub answers");
    assert_eq!((summary.missed, summary.other_endpoint), (1, 0), "{summary:?}");
    assert!(shop.calls().await.contains_key("evt_1"));
}

#[tokio::test]
async fn event_is_found_that_came_after_its_thin_event() {
    let shop = Shop::of(&["invoice.paid"], |router| router).await;
    let mut twin = thin_of_type("evt_thin", "v1.invoice.paid");
    twin["snapshot_event"] = json!("evt_1");
    let snapshot = missed("evt_1", ago(HOUR));
    let fetched = AlreadyAuthenticated::fetched_from_stripe(snapshot.to_string(), "default");
    let event = Event::from_stripe_api(fetched).expect("event is valid");
    shop.webhook(&twin).await;
    let found = look_up(shop.operations(), &event).await.expect("store is available");
    assert_eq!(found, Lookup::Missing);
    shop.webhook(&snapshot).await;
    let found = look_up(shop.operations(), &event).await.expect("store is available");
    assert_eq!(found, Lookup::Stored);
}
