//! In order and without faults, all shops lead to the same rows and mails.

use axum::http::StatusCode;
use router_core::testing::{Payload, SyntheticEvent};
use router_test_servers::smtp::Server;
use serde_json::{Value, json};

use crate::support::{ByHand, NO_SERVER, WithRouter, event, rows};

/// The columns that all shops have.
const TABLES: [&str; 6] = [
    "select json_array(session, reference, customer, payment_intent, amount, currency, state, \
     changed_at, refunded) from order_balances order by session",
    "select json_array(refund, payment_intent, amount, state) from refunds order by refund",
    "select json_array(subscription, customer, status, cancel_at_period_end, deleted) \
     from subscriptions order by subscription",
    "select json_array(dispute, charge, amount, currency, reason, status) from disputes",
    "select json_array(dispute, due_by) from dispute_alerts order by due_by",
    "select json_array(account, id, object, deleted, json(data)) from stripe_objects order by id",
];

fn session(change: &str, seconds: u64, id: &str, payment_status: &str) -> SyntheticEvent {
    event(&format!("checkout.session.{change}"), seconds)
        .set("id", id)
        .set("payment_status", payment_status)
        .set("payment_intent", format!("pi_of_{id}"))
        .set("amount_total", 500)
        .set("currency", "eur")
}

fn refund(change: &str, seconds: u64, id: &str, amount: i64, status: &str) -> SyntheticEvent {
    event(&format!("refund.{change}"), seconds)
        .set("id", id)
        .set("amount", amount)
        .set("status", status)
        .set("payment_intent", "pi_of_cs_1")
}

fn subscription(change: &str, seconds: u64, id: &str, status: &str) -> SyntheticEvent {
    event(&format!("customer.subscription.{change}"), seconds).set("id", id).set("status", status)
}

fn dispute(change: &str, seconds: u64, status: &str, due_by: u64) -> SyntheticEvent {
    event(&format!("charge.dispute.{change}"), seconds)
        .set("id", "du_1")
        .set("status", status)
        .set("evidence_details.due_by", due_by)
}

/// Cards, delayed payments that succeed and fail, an expired session, a setup, partial refunds of
/// which one fails, two subscriptions, an inquiry that becomes a dispute, and other objects.
fn scenarios() -> Vec<SyntheticEvent> {
    vec![
        event("customer.created", 0),
        session("completed", 1, "cs_1", "paid"),
        event("charge.succeeded", 1).set("metadata", json!({})),
        session("completed", 2, "cs_2", "unpaid"),
        session("completed", 3, "cs_3", "unpaid"),
        session("completed", 4, "cs_4", "no_payment_required"),
        session("expired", 5, "cs_5", "unpaid"),
        session("completed", 6, "cs_6", "no_payment_required").set("mode", "setup"),
        subscription("created", 10, "sub_1", "incomplete"),
        subscription("updated", 11, "sub_1", "active"),
        subscription("created", 12, "sub_2", "trialing"),
        subscription("trial_will_end", 13, "sub_2", "trialing"),
        subscription("updated", 14, "sub_2", "active").set("cancel_at_period_end", true),
        subscription("paused", 15, "sub_1", "paused"),
        subscription("resumed", 16, "sub_1", "active"),
        refund("created", 20, "re_1", 100, "succeeded"),
        event("charge.refunded", 20)
            .set("payment_intent", "pi_of_cs_1")
            .set("amount_refunded", 100),
        refund("created", 21, "re_2", 200, "pending"),
        refund("updated", 22, "re_2", 200, "succeeded"),
        dispute("created", 30, "warning_needs_response", 100),
        dispute("updated", 31, "needs_response", 200),
        dispute("updated", 32, "under_review", 200),
        subscription("deleted", 40, "sub_2", "canceled"),
        session("async_payment_succeeded", 50, "cs_2", "paid"),
        session("async_payment_failed", 51, "cs_3", "unpaid"),
        refund("failed", 60, "re_2", 200, "failed"),
        dispute("closed", 70, "lost", 200),
        event("payout.paid", 80),
        event("customer.updated", 81),
    ]
}

fn build(event: SyntheticEvent) -> Payload {
    event.build().unwrap()
}

#[tokio::test]
async fn tables_are_the_same_in_order_with_duplicates() {
    let (by_hand, with_router) = (ByHand::new(NO_SERVER).await, WithRouter::new(NO_SERVER).await);
    let same_rules = WithRouter::same_rules(NO_SERVER).await;
    for event in scenarios().into_iter().map(build) {
        for _ in 0..2 {
            assert_eq!(by_hand.send(&event).await, StatusCode::OK, "{}", event.event_type());
            assert_eq!(with_router.send(&event).await, 200);
            assert_eq!(same_rules.send(&event).await, 200);
        }
    }
    for query in TABLES {
        let by_hand = values(&rows(&by_hand.pool, query).await);
        assert!(!by_hand.is_empty(), "{query}");
        assert_eq!(by_hand, values(&rows(&with_router.pool, query).await), "{query}");
        assert_eq!(by_hand, values(&rows(&same_rules.pool, query).await), "{query}");
    }
    let orders = "select concat(session, ' ', state, ' ', refunded) from order_balances order by 1";
    let expected =
        ["cs_1 paid 100", "cs_2 paid 0", "cs_3 failed 0", "cs_4 paid 0", "cs_5 expired 0"];
    assert_eq!(rows(&by_hand.pool, orders).await, expected);
}

/// The mirror by hand does not keep the order of an object's fields.
fn values(rows: &[String]) -> Vec<Value> {
    rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
}

#[tokio::test]
async fn late_events_change_nothing() {
    let (by_hand, with_router) = (ByHand::new(NO_SERVER).await, WithRouter::new(NO_SERVER).await);
    let events = [
        subscription("updated", 9, "sub_1", "past_due"),
        subscription("updated", 5, "sub_1", "active"),
        subscription("created", 0, "sub_1", "incomplete"),
        session("async_payment_succeeded", 9, "cs_1", "paid"),
        session("completed", 0, "cs_1", "unpaid"),
        subscription("deleted", 20, "sub_2", "canceled"),
        subscription("updated", 19, "sub_2", "active"),
    ];
    for event in events.map(build) {
        assert_eq!(by_hand.send(&event).await, StatusCode::OK);
        assert_eq!(with_router.send(&event).await, 200);
    }
    let states = "select concat(session, ' ', state) from orders union all \
                  select concat(subscription, ' ', status) from subscriptions order by 1";
    let expected = ["cs_1 paid", "sub_1 past_due", "sub_2 canceled"];
    assert_eq!(rows(&by_hand.pool, states).await, expected);
    assert_eq!(rows(&with_router.pool, states).await, expected);
}

#[tokio::test]
async fn mails_are_the_same() {
    let Some(mut server) = Server::start() else { return };
    let by_hand = ByHand::new(&server.url()).await;
    let with_router = WithRouter::new(&server.url()).await;
    let events = [
        event("invoice.paid", 0).set("amount_paid", 123_456).set("currency", "eur"),
        event("invoice.paid", 1).set("id", "in_free").set("amount_paid", 0),
        event("charge.succeeded", 2).set("amount_captured", 0),
        event("charge.captured", 3).set("amount_captured", 5120).set("currency", "jpy"),
        // Another event of the same payment.
        event("charge.succeeded", 4),
        event("charge.succeeded", 5).set("payment_intent", "pi_2").set("metadata", json!({})),
    ];
    let events = events.map(build);
    for event in &events {
        assert_eq!(by_hand.send(event).await, StatusCode::OK);
    }
    let mails_by_hand = content(&server.mails());
    for event in &events {
        assert_eq!(with_router.send(event).await, 200);
    }
    let same_rules = WithRouter::same_rules(&server.url()).await;
    for event in &events {
        assert_eq!(same_rules.send(event).await, 200);
    }
    assert_eq!(mails_by_hand.len(), 2, "{mails_by_hand:?}");
    assert_eq!(content(&server.mails()), vec![mails_by_hand; 3].concat());
    let sent = "select key from sent_mails order by key";
    let keys = rows(&by_hand.pool, sent).await;
    assert_eq!(keys, rows(&with_router.pool, sent).await);
    assert_eq!(keys, rows(&same_rules.pool, sent).await);
}

fn content(mails: &[Value]) -> Vec<[Value; 4]> {
    let content = |mail: &Value| {
        let subject = mail["headers"]["subject"].clone();
        [mail["to"].clone(), subject, mail["text"].clone(), mail["html"].clone()]
    };
    mails.iter().map(content).collect()
}
