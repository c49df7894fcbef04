//! Other versions of the program, and of the database schema.

use router_core::testing::Payload;
use router_inbox::store::DeliveryState::{Done, Waiting};

use crate::{on_each_store, shop::Shop, wait_until};

on_each_store!(
    renamed_handler_gets_deliveries_of_its_former_name;
    newer_schema_works_with_this_version,
);

async fn renamed_handler_gets_deliveries_of_its_former_name(shop: Shop) {
    let stripe = &shop.stripe;
    let mut former =
        shop.serve(&["--handlers", "former", "--no-worker"]).await.expect("process serves");
    let sent = stripe.events("invoice.sent", 5);
    stripe.deliver_all(sent.clone()).await;
    former.kill().await;

    let mut without = shop.serve(&[]).await.expect("process serves");
    stripe.deliver_all(stripe.events("invoice.paid", 5)).await;
    wait_until("the other events", async || shop.ledger().len() == 5).await;
    let told = "deliveries wait for a handler that this program does not have";
    wait_until("the log line", async || shop.log().contains(told)).await;
    for event in &sent {
        assert_eq!(shop.state(event).await, (Waiting, 0));
    }
    without.kill().await;

    let _renamed = shop.serve(&["--handlers", "renamed"]).await.expect("process serves");
    shop.wait_until_idle().await;
    for event in &sent {
        assert_eq!(shop.state(event).await, (Done, 1));
    }
    let done = shop.ledger().into_iter().filter(|(handler, _)| handler == "shop.present");
    let mut done: Vec<_> = done.map(|(_, event)| event).collect();
    done.sort();
    assert_eq!(done, sent.iter().map(Payload::id).collect::<Vec<_>>());
}

/// Tests a process that was started before the schema changed, and one that is started after.
async fn newer_schema_works_with_this_version(shop: Shop) {
    let stripe = &shop.stripe;
    let mut before = shop.serve(&[]).await.expect("process serves");
    stripe.deliver_all(stripe.events("invoice.paid", 5)).await;
    let events = stripe.events("invoice.paid", 40);
    let delivered = tokio::spawn({
        let stripe = stripe.clone();
        async move { stripe.deliver_all(events).await }
    });
    shop.database.run_sql(if shop.database.is_postgres() { IN_POSTGRES } else { IN_SQLITE }).await;
    delivered.await.expect("task does not panic");
    shop.wait_until_idle().await;

    let mut after = shop.serve(&[]).await.expect("process serves");
    stripe.deliver_all(stripe.events("invoice.paid", 40)).await;
    shop.wait_until_idle().await;
    shop.check_guarantees().await;
    assert!(before.is_alive() && after.is_alive());
    // The newer version's table still exists.
    shop.database.run_sql("update future set noted = noted").await;
}

const IN_SQLITE: &str = "
    begin immediate;
    alter table stripe_inbox_deliveries add column future_note text not null default 'none';
    alter table stripe_inbox_events add column future_note text;
    create table future (noted text);
    insert into stripe_inbox_migrations (step) values (1000);
    commit";
/// Uses a transaction per table: one that locks both could deadlock with a transaction that locks
/// them in the opposite order.
const IN_POSTGRES: &str = "
    begin; alter table stripe_inbox.deliveries add column future_note text not null default 'none'; commit;
    begin; alter table stripe_inbox.events add column future_note text; commit;
    begin; create table future (noted text); insert into stripe_inbox.migrations (step) values (1000); commit";
