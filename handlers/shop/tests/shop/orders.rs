//! Orders: each is paid once, even if events come twice, late or in another order.

use router_core::testing::{Payload, SyntheticEvent};

use crate::support::{Shop, event, permutations, router};

const ORDERS: &str = "select concat(session, ' ', state, ' ', amount, ' ', currency, ' ', refunded) \
                      from order_balances order by session";

fn session(change: &str, seconds: u64, id: &str, payment_status: &str) -> SyntheticEvent {
    event(&format!("checkout.session.{change}"), seconds)
        .set("id", id)
        .set("payment_status", payment_status)
        .set("payment_intent", format!("pi_of_{id}"))
        .set("amount_total", 500)
        .set("currency", "eur")
}

/// A refund of the order of this session.
fn refund(change: &str, session: &str, (id, amount): (&str, i64), status: &str) -> SyntheticEvent {
    event(&format!("refund.{change}"), 1)
        .set("id", format!("{id}_of_{session}"))
        .set("amount", amount)
        .set("status", status)
        .set("payment_intent", format!("pi_of_{session}"))
}

fn refunded_charge(session: &str, amount: i64) -> SyntheticEvent {
    event("charge.refunded", 2)
        .set("id", format!("ch_of_{session}"))
        .set("payment_intent", format!("pi_of_{session}"))
        .set("amount_refunded", amount)
}

fn build<const N: usize>(events: [SyntheticEvent; N]) -> Vec<Payload> {
    events.into_iter().map(|event| event.build().expect("the fields exist")).collect()
}

/// Handles the events of a session in every order, and the first one again, and checks the row.
async fn every_order_leads_to(events: impl Fn(&str) -> Vec<Payload>, row: &str) {
    let shop = Shop::sqlite(router().without::<shop::mirror::record>()).await;
    for (number, order) in permutations(events("cs").len()).iter().enumerate() {
        let session = format!("cs_{number:03}");
        let events = events(&session);
        for index in order.iter().chain(&order[..1]) {
            shop.handle(&events[*index]).await;
        }
        let rows = shop.rows(ORDERS).await;
        assert_eq!(rows.last(), Some(&format!("{session} {row}")), "{order:?}");
    }
}

#[tokio::test]
async fn completed_and_unpaid_order_is_pending() {
    for shop in Shop::on_each_engine(router).await {
        shop.handle(&session("completed", 0, "cs_1", "unpaid").build().unwrap()).await;
        assert_eq!(shop.rows(ORDERS).await, ["cs_1 pending 500 eur 0"]);
        shop.handle(&session("async_payment_succeeded", 9, "cs_1", "paid").build().unwrap()).await;
        assert_eq!(shop.rows(ORDERS).await, ["cs_1 paid 500 eur 0"]);
    }
}

#[tokio::test]
async fn failed_and_expired_orders_are_not_paid() {
    for shop in Shop::on_each_engine(router).await {
        for event in build([
            session("completed", 0, "cs_1", "unpaid"),
            session("async_payment_failed", 9, "cs_1", "unpaid"),
            session("expired", 9, "cs_2", "unpaid"),
            session("completed", 9, "cs_3", "no_payment_required"),
        ]) {
            shop.handle(&event).await;
        }
        let orders = ["cs_1 failed 500 eur 0", "cs_2 expired 500 eur 0", "cs_3 paid 500 eur 0"];
        assert_eq!(shop.rows(ORDERS).await, orders);
    }
}

#[tokio::test]
async fn paid_order_stays_paid_in_every_order_of_events() {
    let events = |id: &str| {
        build([
            session("completed", 0, id, "unpaid"),
            session("async_payment_succeeded", 9, id, "paid"),
            session("async_payment_failed", 9, id, "unpaid"),
            session("expired", 10, id, "unpaid"),
        ])
    };
    every_order_leads_to(events, "paid 500 eur 0").await;
}

/// The second refund succeeds, and the bank returns it days later.
#[tokio::test]
async fn refunds_add_up_in_every_order_of_events() {
    let events = |id: &str| {
        build([
            session("completed", 0, id, "paid"),
            refund("created", id, ("re_1", 100), "succeeded"),
            refund("updated", id, ("re_2", 300), "succeeded"),
            refunded_charge(id, 400),
            refund("failed", id, ("re_2", 300), "failed"),
        ])
    };
    every_order_leads_to(events, "paid 500 eur 100").await;
}

#[tokio::test]
async fn refunds_count_on_each_engine() {
    for shop in Shop::on_each_engine(router).await {
        // Before the order, and the total before the single refunds.
        shop.handle(&refunded_charge("cs_1", 400).build().unwrap()).await;
        shop.handle(&session("completed", 0, "cs_1", "paid").build().unwrap()).await;
        assert_eq!(shop.rows(ORDERS).await, ["cs_1 paid 500 eur 400"]);
        for event in build([
            refund("failed", "cs_1", ("re_2", 300), "failed"),
            refund("created", "cs_1", ("re_1", 100), "pending"),
            refund("created", "cs_1", ("re_2", 300), "pending"),
        ]) {
            shop.handle(&event).await;
        }
        assert_eq!(shop.rows(ORDERS).await, ["cs_1 paid 500 eur 100"]);
    }
}

#[tokio::test]
async fn duplicate_changes_nothing() {
    for shop in Shop::on_each_engine(router).await {
        // Different events about one payment.
        for event in build([
            session("completed", 9, "cs_1", "paid"),
            session("completed", 9, "cs_1", "paid"),
            session("completed", 0, "cs_1", "paid"),
        ]) {
            shop.handle(&event).await;
        }
        assert_eq!(shop.outcomes("orders.record"), ["done", "ignored", "ignored"]);
        assert_eq!(shop.rows(ORDERS).await, ["cs_1 paid 500 eur 0"]);
    }
}

#[tokio::test]
async fn setup_session_is_no_order() {
    let shop = Shop::sqlite(router()).await;
    shop.handle(&session("completed", 0, "cs_1", "paid").set("mode", "setup").build().unwrap())
        .await;
    assert_eq!(shop.outcomes("orders.record"), ["ignored"]);
    assert!(shop.rows(ORDERS).await.is_empty());
}
