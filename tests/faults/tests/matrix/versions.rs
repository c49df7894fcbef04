//! Other versions of the program, and of the tables.

use router_core::testing::Payload;
use router_inbox::DeliveryState::{Done, Waiting};

use crate::{on_each_store, shop::Shop, until};

on_each_store!(
    a_handler_that_is_gone_leaves_its_deliveries_and_its_new_name_takes_them;
    a_newer_version_of_the_tables_is_used_beside_this_one,
);

async fn a_handler_that_is_gone_leaves_its_deliveries_and_its_new_name_takes_them(shop: Shop) {
    let stripe = &shop.stripe;
    let mut former = shop.serve(&["--handlers", "former", "--no-worker"]).await.expect("it serves");
    let sent = stripe.events("invoice.sent", 5);
    stripe.deliver_all(sent.clone()).await;
    former.kill().await;

    let mut without = shop.serve(&[]).await.expect("it serves");
    stripe.deliver_all(stripe.events("invoice.paid", 5)).await;
    until("the others", async || shop.ledger().len() == 5).await;
    let told = "deliveries wait for a handler that this program does not have";
    until("that it is said", async || shop.log().contains(told)).await;
    for event in &sent {
        assert_eq!(shop.state(event).await, (Waiting, 0));
    }
    without.kill().await;

    let _renamed = shop.serve(&["--handlers", "renamed"]).await.expect("it serves");
    shop.all_ended().await;
    for event in &sent {
        assert_eq!(shop.state(event).await, (Done, 1));
    }
    let done = shop.ledger().into_iter().filter(|(handler, _)| handler == "shop.present");
    let mut done: Vec<_> = done.map(|(_, event)| event).collect();
    done.sort();
    assert_eq!(done, sent.iter().map(Payload::id).collect::<Vec<_>>());
}

/// The one before it came, while it comes, and one that begins after.
async fn a_newer_version_of_the_tables_is_used_beside_this_one(shop: Shop) {
    let stripe = &shop.stripe;
    let mut before = shop.serve(&[]).await.expect("it serves");
    stripe.deliver_all(stripe.events("invoice.paid", 5)).await;
    let events = stripe.events("invoice.paid", 40);
    let delivered = tokio::spawn({
        let stripe = stripe.clone();
        async move { stripe.deliver_all(events).await }
    });
    shop.database.run(if shop.database.is_postgres() { IN_POSTGRES } else { IN_SQLITE }).await;
    delivered.await.expect("all are acknowledged");
    shop.all_ended().await;

    let mut after = shop.serve(&[]).await.expect("it serves");
    stripe.deliver_all(stripe.events("invoice.paid", 40)).await;
    shop.all_ended().await;
    shop.check().await;
    assert!(before.is_alive() && after.is_alive());
    // What the newer version has made is as it was.
    shop.database.run("update future set noted = noted").await;
}

const IN_SQLITE: &str = "
    begin immediate;
    alter table deliveries add column future_note text not null default 'none';
    alter table events add column future_note text;
    create table future (noted text);
    pragma user_version = 1000;
    commit";
/// A transaction for each table: one that locks both could wait for another that has them in another order, and
/// that one for it.
const IN_POSTGRES: &str = "
    begin; alter table stripe_inbox.deliveries add column future_note text not null default 'none'; commit;
    begin; alter table stripe_inbox.events add column future_note text; commit;
    begin; create table future (noted text); insert into stripe_inbox.migrations (step) values (1000); commit";
