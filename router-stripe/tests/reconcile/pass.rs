//! Passes of the search, with an inbox in a SQLite file and webhooks that are signed and verified.

use std::time::Duration;

use router_core::clock::Clock as _;
use router_inbox::sqlx;
use router_stripe::{
    reconcile::{Reconcile, ReconcileError},
    testing::Fault,
};
use serde_json::Value;

use crate::{
    events::{V1, V2, advance, ago, delivered, missed, thin, until_held},
    shop::{HOUR, Shop},
};

fn of_account(mut event: Value, account: &str) -> Value {
    event["account"] = account.into();
    event
}

#[tokio::test]
async fn missed_events_are_handled_once() {
    let mut shop = Shop::open().await;
    shop.reconcile = shop.reconcile.all_accounts();
    for account in ["acct_1", "acct_2"] {
        shop.stripe.add_item("/v1/accounts", serde_json::json!({"id": account}));
    }
    let start = ago(3 * HOUR);
    let mut late = Vec::new();
    for number in 0..245 {
        let event = missed(&format!("evt_{number}"), start + 10 * number);
        match number {
            0..32 => shop.stripe.add_item(V1, event),
            32..72 => {
                shop.stripe.add_item(V1, event.clone());
                late.push(event);
            }
            _ => {
                shop.webhook(&event).await;
                shop.stripe.add_item(V1, delivered(event));
            }
        }
    }
    for number in 0..5 {
        let event = missed(&format!("evt_connect_{number}"), start + number);
        // The list of the first account omits it.
        match number {
            0..3 => shop.stripe.add_item_of("acct_1", V1, event),
            _ => shop.stripe.add_item_of("acct_2", V1, of_account(event, "acct_2")),
        }
    }
    let hold = shop.stripe.hold_at(V1);
    let mut pass = Box::pin(shop.reconcile.pass());
    until_held(&shop.clock, &mut pass, &hold).await;
    for event in &late {
        shop.webhook(event).await;
    }
    hold.release();
    let summary = advance(&shop.clock, pass).await.expect("stub answers");
    assert_eq!((summary.listed, summary.missed, summary.already_stored), (77, 37, 40));
    shop.assert_each_handled_once(250).await;
    // Webhooks of the connected accounts come late.
    shop.webhook(&of_account(missed("evt_connect_0", start), "acct_1")).await;
    shop.webhook(&of_account(missed("evt_connect_4", start), "acct_2")).await;
    assert_eq!(shop.pass().await.expect("stub answers").missed, 0);
    shop.assert_each_handled_once(250).await;
}

#[tokio::test]
async fn failed_requests_are_repeated_by_the_next_pass() {
    let shop = Shop::open().await;
    let start = ago(20 * HOUR);
    for number in 0..250 {
        shop.stripe.add_item(V1, missed(&format!("evt_{number}"), start + 200 * number));
    }
    let mut failures = 0;
    for fault in [Fault::rate_limited(3_600), Fault::status(500), Fault::disconnect()] {
        for before in [0, 2] {
            // Each request before the fault is answered.
            for _ in 0..before {
                shop.stripe.fault_at(V1, Fault::delay(Duration::ZERO));
            }
            shop.stripe.fault_at(V1, fault.clone());
            failures += usize::from(shop.pass().await.is_err());
        }
    }
    assert_eq!(failures, 6);
    while shop.pass().await.is_err() {}
    shop.assert_each_handled_once(250).await;
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let shop = Shop::open().await;
    shop.stripe.add_item(V1, missed("evt_1", ago(HOUR)));
    let client = shop.stripe.client_builder().clock(shop.clock.clone()).build();
    let client = client.expect("settings are valid");
    let reconcile = Reconcile::new(client, shop.inbox.inbox().clone());
    shop.stripe.fault(Fault::rate_limited(20));
    let begin = shop.clock.monotonic();
    let summary = advance(&shop.clock, reconcile.pass()).await.expect("second attempt succeeds");
    assert_eq!(summary.missed, 1);
    assert!(shop.clock.monotonic() - begin >= Duration::from_secs(20));
}

#[tokio::test]
async fn pulled_event_and_its_webhook_are_one() {
    let shop = Shop::open().await;
    let created = ago(HOUR);
    for id in ["evt_1", "evt_2"] {
        shop.stripe.add_item(V1, missed(id, created));
    }
    shop.webhook(&missed("evt_1", created)).await;
    let mut twin = thin("evt_thin", created);
    twin["snapshot_event"] = "evt_2".into();
    shop.stripe.add_item(V2, twin.clone());
    shop.stripe.add_item(V2, thin("evt_only_thin", created));
    let summary = shop.pass().await.expect("stub answers");
    assert_eq!((summary.missed, summary.already_stored), (2, 2), "{summary:?}");
    shop.webhook(&missed("evt_2", created)).await;
    shop.webhook(&twin).await;
    shop.webhook(&thin("evt_only_thin", created)).await;
    shop.assert_each_handled_once(3).await;
}

#[tokio::test]
async fn checkpoint_does_not_pass_an_event_that_was_not_stored() {
    let shop = Shop::open().await;
    let start = ago(HOUR);
    for number in 0..20 {
        shop.stripe.add_item(V1, missed(&format!("evt_{number}"), start + number));
    }
    let fail = "create trigger fail before insert on stripe_inbox_events when new.event_id = 'evt_7' \
                begin select raise(abort, 'unavailable'); end";
    sqlx::query(fail).execute(shop.inbox.pool()).await.expect("trigger is valid");
    let error = shop.pass().await.expect_err("evt_7 is not stored");
    assert!(matches!(error, ReconcileError::Inbox(_)), "{error:?}");
    sqlx::query("drop trigger fail").execute(shop.inbox.pool()).await.expect("trigger exists");
    let summary = shop.pass().await.expect("inbox is available");
    assert_eq!((summary.already_stored, summary.missed), (7, 13), "{summary:?}");
    shop.assert_each_handled_once(20).await;
}

#[tokio::test]
async fn wrong_clock_skips_nothing() {
    for is_ahead in [true, false] {
        let shop = Shop::open().await;
        match is_ahead {
            true => shop.clock.set_forward(HOUR),
            false => shop.clock.set_back(HOUR),
        }
        shop.stripe.add_item(V1, missed("evt_1", ago(Duration::from_secs(90))));
        shop.stripe.add_item(V1, missed("evt_2", ago(Duration::from_secs(10))));
        assert_eq!(shop.pass().await.expect("stub answers").missed, 1);
        // Later, the second event is old enough.
        shop.stripe.set_clock_ahead(2 * HOUR);
        shop.stripe.add_item(V1, missed("evt_3", ago(Duration::ZERO) + 3_600));
        assert_eq!(shop.pass().await.expect("stub answers").missed, 2);
        shop.assert_each_handled_once(3).await;
    }
}

#[tokio::test]
async fn revoked_account_does_not_stop_the_others() {
    let mut shop = Shop::open().await;
    shop.reconcile = shop.reconcile.account("acct_1").account("acct_2");
    shop.stripe.add_item_of("acct_2", V1, missed("evt_1", ago(HOUR)));
    let hold = shop.stripe.hold_at(V2);
    let mut pass = Box::pin(shop.reconcile.pass());
    until_held(&shop.clock, &mut pass, &hold).await;
    // The next request for snapshot events is that of the first account.
    shop.stripe.fault_at(V1, Fault::status(403));
    hold.release();
    let error = advance(&shop.clock, pass).await.expect_err("one list was refused");
    assert!(error.to_string().contains("v1/default/acct_1"), "{error}");
    shop.assert_each_handled_once(1).await;
}

#[tokio::test]
async fn event_younger_than_the_minimum_age_is_left_for_a_later_pass() {
    let mut shop = Shop::open().await;
    shop.reconcile = shop.reconcile.min_age(HOUR);
    shop.stripe.add_item(V1, missed("evt_1", ago(HOUR / 2)));
    assert_eq!(shop.pass().await.expect("stub answers").listed, 0);
    shop.wait(HOUR);
    assert_eq!(shop.pass().await.expect("stub answers").missed, 1);
}

#[tokio::test]
async fn run_repeats_a_failed_pass_until_the_shutdown() {
    let mut shop = Shop::open().await;
    shop.reconcile = shop.reconcile.every(Duration::from_secs(10));
    shop.stripe.add_item(V1, missed("evt_1", ago(HOUR)));
    shop.stripe.fault_at(V1, Fault::status(500));
    let (clock, begin) = (shop.clock.clone(), shop.clock.monotonic());
    let minute = Duration::from_secs(60);
    let shutdown = async { clock.sleep(minute).await };
    advance(&shop.clock, shop.reconcile.run(shutdown)).await.expect("failures are not permanent");
    assert!(shop.clock.monotonic() - begin >= minute);
    shop.assert_each_handled_once(1).await;
}
