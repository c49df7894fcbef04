//! Names of endpoints that are wrong.

use std::future;

use router_stripe::reconcile::ReconcileError;

use crate::{
    events::{V1, V2, advance, ago, missed, thin},
    shop::{HOUR, Shop},
};

#[tokio::test]
async fn endpoint_unknown_to_the_router_is_an_error_at_once() {
    let endpoints = ["default", "connect"];
    let mut shop = Shop::of(&["invoice.paid"], |router| router.endpoints(endpoints)).await;
    shop.stripe.add_item(V1, missed("evt_1", ago(HOUR)));
    let valid = shop.reconcile.clone();
    for wrong in [
        valid.clone().endpoint("defualt"),
        valid.clone().connect_endpoint("defualt"),
        valid.clone().thin_endpoint("defualt"),
    ] {
        shop.reconcile = wrong;
        let error = shop.pass().await.expect_err("name is wrong").to_string();
        assert!(
            error.contains("\"defualt\"") && error.contains("[\"connect\", \"default\"]"),
            "{error}"
        );
        let run = shop.reconcile.run(future::pending::<()>());
        let error = advance(&shop.clock, run).await.expect_err("name is wrong");
        assert!(matches!(error, ReconcileError::UnknownEndpoint { .. }), "{error:?}");
    }
    assert!(shop.stripe.requests().is_empty());
    shop.reconcile = valid.connect_endpoint("connect");
    assert_eq!(shop.pass().await.expect("names are right").missed, 1);
}

#[tokio::test]
async fn endpoint_without_stored_events_is_an_error() {
    let mut shop = Shop::open().await;
    shop.reconcile = shop.reconcile.endpoint("defualt");
    let created = ago(HOUR);
    for event in [missed("evt_1", created), thin("evt_2", created)] {
        shop.webhook(&event).await;
        shop.stripe.add_item(if event["object"] == "event" { V1 } else { V2 }, event);
    }
    shop.stripe.add_item(V1, missed("evt_3", created));
    let error = shop.pass().await.expect_err("no event is of this endpoint");
    assert!(matches!(error, ReconcileError::UnseenEndpoint { .. }), "{error:?}");
    let error = error.to_string();
    assert!(error.contains("\"defualt\"") && error.contains("[\"default\"]"), "{error}");
    // The name is corrected.
    shop.reconcile = shop.reconcile.endpoint("default");
    let summary = shop.pass().await.expect("the endpoint has events");
    assert_eq!((summary.already_stored, summary.missed), (2, 1), "{summary:?}");
    shop.webhook(&missed("evt_3", created)).await;
    shop.assert_each_handled_once(3).await;
}

#[tokio::test]
async fn unhandled_event_shows_that_an_endpoint_exists() {
    let mut shop = Shop::of(&["invoice.voided"], |router| router).await;
    shop.inbox = shop.inbox.named("quiet");
    shop.webhook(&missed("evt_1", ago(HOUR))).await;
    shop.reconcile = shop.reconcile.endpoint("quiet");
    shop.pass().await.expect("the endpoint has an unhandled event");
    shop.reconcile = shop.reconcile.clone().endpoint("other");
    // The check is made once.
    shop.pass().await.expect("the name was checked");
}

#[tokio::test]
async fn event_of_another_endpoint_is_not_handed_over() {
    let mut shop = Shop::open().await;
    let created = ago(HOUR);
    for event in [missed("evt_1", created), thin("evt_2", created)] {
        shop.webhook(&event).await;
        shop.stripe.add_item(if event["object"] == "event" { V1 } else { V2 }, event);
    }
    shop.inbox = shop.inbox.named("connect");
    shop.webhook(&missed("evt_3", created)).await;
    // Both endpoints exist, and they are confused.
    shop.reconcile = shop.reconcile.endpoint("connect");
    let summary = shop.pass().await.expect("stub answers");
    assert_eq!((summary.other_endpoint, summary.missed), (2, 0), "{summary:?}");
    shop.assert_each_handled_once(3).await;
}

#[tokio::test]
async fn events_of_each_list_belong_to_its_endpoint() {
    for thin_endpoint in [None, Some("thin")] {
        let mut shop = Shop::open().await;
        let created = ago(HOUR);
        shop.stripe.add_item(V1, missed("evt_1", created));
        shop.stripe.add_item_of("acct_1", V1, missed("evt_2", created));
        shop.stripe.add_item(V2, thin("evt_3", created));
        shop.stripe.add_item_of("acct_1", V2, thin("evt_4", created));
        shop.reconcile = shop.reconcile.endpoint("own").connect_endpoint("connect");
        shop.reconcile = shop.reconcile.account("acct_1");
        if let Some(name) = thin_endpoint {
            shop.reconcile = shop.reconcile.thin_endpoint(name);
        }
        assert_eq!(shop.pass().await.expect("the inbox is empty").missed, 4);
        let mut endpoints = Vec::new();
        for id in ["evt_1", "evt_2", "evt_3", "evt_4"] {
            let stored = shop.operations().show(id).await.expect("store is available");
            endpoints.extend(stored.into_iter().map(|stored| stored.event.endpoint));
        }
        let own_thin = thin_endpoint.unwrap_or("own");
        let connected_thin = thin_endpoint.unwrap_or("connect");
        assert_eq!(endpoints, ["own", "connect", own_thin, connected_thin]);
    }
}
