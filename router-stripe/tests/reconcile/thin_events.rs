//! The list of thin events, which has all of the account.

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
