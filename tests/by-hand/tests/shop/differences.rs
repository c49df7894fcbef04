//! The cases in which the shops differ, and those that README.md calls equal.

use std::time::Duration;

use axum::http::StatusCode;
use router_core::testing::{Payload, SyntheticEvent};
use router_inbox::store::Operations as _;
use router_test_servers::smtp::Server;
use serde_json::{Value, json};

use crate::support::{ByHand, NO_SERVER, WithRouter, event, rows};

const SUBSCRIPTIONS: &str = "select concat(subscription, ' ', status) from subscriptions";
const MIRROR: &str = "select object from stripe_objects";
const SENT: &str = "select key from sent_mails";

fn updated(status: &str) -> SyntheticEvent {
    event("customer.subscription.updated", 9).set("id", "sub_1").set("status", status)
}

fn build<const N: usize>(events: [SyntheticEvent; N]) -> [Payload; N] {
    events.map(|event| event.build().unwrap())
}

#[tokio::test]
async fn tie_within_one_second_depends_on_arrival_by_hand() {
    let [active, past_due] =
        build([updated("active").id("evt_1"), updated("past_due").id("evt_2")]);
    for (first, second, by_hand) in
        [(&active, &past_due, "sub_1 past_due"), (&past_due, &active, "sub_1 active")]
    {
        let shop = ByHand::new(NO_SERVER).await;
        shop.send(first).await;
        shop.send(second).await;
        assert_eq!(rows(&shop.pool, SUBSCRIPTIONS).await, [by_hand]);

        let shop = WithRouter::new(NO_SERVER).await;
        shop.send(first).await;
        shop.send(second).await;
        assert_eq!(rows(&shop.pool, SUBSCRIPTIONS).await, ["sub_1 past_due"]);
    }
}

/// By hand, Stripe sends the event again until the mail server answers.
#[tokio::test]
async fn mail_outage_delays_other_handlers_by_hand() {
    let [paid] = build([event("invoice.paid", 0)]);
    let by_hand = ByHand::new(NO_SERVER).await;
    assert_eq!(by_hand.send(&paid).await, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(rows(&by_hand.pool, MIRROR).await.is_empty());

    let with_router = WithRouter::new(NO_SERVER).await;
    assert_eq!(with_router.send(&paid).await, 200);
    assert_eq!(rows(&with_router.pool, MIRROR).await, ["invoice"]);
    assert_eq!(with_router.inbox.outcomes("receipts.invoice_paid"), ["retry"]);
}

#[tokio::test]
async fn undecodable_object_is_refused_by_hand() {
    let [event] = build([updated("active").set("items", Value::Null)]);
    let by_hand = ByHand::new(NO_SERVER).await;
    assert_eq!(by_hand.send(&event).await, StatusCode::BAD_REQUEST);
    assert!(rows(&by_hand.pool, MIRROR).await.is_empty());

    let with_router = WithRouter::new(NO_SERVER).await;
    assert_eq!(with_router.send(&event).await, 200);
    assert_eq!(rows(&with_router.pool, SUBSCRIPTIONS).await, ["sub_1 active"]);
}

#[tokio::test]
async fn thin_event_is_refused_by_hand() {
    let [thin] = build([SyntheticEvent::new("v1.billing.meter.no_meter_found").thin()]);
    assert_eq!(ByHand::new(NO_SERVER).await.send(&thin).await, StatusCode::BAD_REQUEST);
    assert_eq!(WithRouter::new(NO_SERVER).await.send(&thin).await, 200);
}

#[tokio::test]
async fn rejected_mail_is_lost_by_hand() {
    let Some(mut server) = Server::start() else { return };
    let [paid] = build([event("invoice.paid", 0).id("evt_1")]);
    let by_hand = ByHand::new(&server.url()).await;
    server.refuse("RCPT", "550 5.1.1 no such user");
    assert_eq!(by_hand.send(&paid).await, StatusCode::OK);
    assert_eq!(by_hand.send(&paid).await, StatusCode::OK);
    assert!(server.mails().is_empty() && rows(&by_hand.pool, SENT).await.is_empty());

    let with_router = WithRouter::new(&server.url()).await;
    server.refuse("RCPT", "550 5.1.1 no such user");
    with_router.send(&paid).await;
    with_router.inbox.store().retry("evt_1", Some("receipts.invoice_paid")).await.unwrap();
    with_router.inbox.run_until_idle().await;
    assert_eq!(server.mails().len(), 1);
}

/// A kill between the mail and the commit leads to the same: the mail is sent, and no row says so.
#[tokio::test]
async fn failed_commit_repeats_mail_with_same_id_in_both() {
    let Some(mut server) = Server::start() else { return };
    let [paid] = build([event("invoice.paid", 0)]);
    let by_hand = ByHand::new(&server.url()).await;
    let lock = by_hand.pool.begin_with("begin immediate").await.unwrap();
    assert_eq!(by_hand.send(&paid).await, StatusCode::INTERNAL_SERVER_ERROR);
    lock.rollback().await.unwrap();
    assert_eq!(by_hand.send(&paid).await, StatusCode::OK);
    same_id(&server.mails());

    let Some(mut server) = Server::start() else { return };
    let with_router = WithRouter::new(&server.url()).await;
    with_router.inbox.deliver(&paid).await;
    with_router.inbox.crash_in("receipts.invoice_paid").await;
    // The lease is 60 s, the backoff 15 s, ±25 %.
    with_router.inbox.run_for(Duration::from_secs(120)).await;
    same_id(&server.mails());
}

fn same_id(mails: &[Value]) {
    let [first, second] = mails else { panic!("{mails:?}") };
    assert_eq!(first["headers"]["message-id"], second["headers"]["message-id"]);
}

#[tokio::test]
async fn old_secret_is_refused_by_hand() {
    let [event] = build([event("payout.paid", 0)]);
    let by_hand = ByHand::new(NO_SERVER).await;
    assert_eq!(by_hand.send_signed(&event, "whsec_old").await, StatusCode::BAD_REQUEST);
    assert_eq!(by_hand.send(&event).await, StatusCode::OK);
}

#[tokio::test]
async fn body_of_3_mib_is_refused_in_both() {
    let text = "x".repeat(3 << 20);
    let [event] = build([event("customer.updated", 0).set("metadata", json!({ "text": text }))]);
    let by_hand = ByHand::new(NO_SERVER).await;
    assert_eq!(by_hand.send(&event).await, StatusCode::PAYLOAD_TOO_LARGE);
    let with_router = WithRouter::new(NO_SERVER).await;
    assert_eq!(with_router.inbox.deliver(&event).await.status(), 413);
}
