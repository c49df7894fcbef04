//! `Worker::run_until_idle` runs everything that is due.

use std::{sync::Arc, time::Duration};

use router_core::{BoxError, Event, Router, on_event, testing::SyntheticEvent};
use router_inbox::{
    Store as _, Tx,
    sqlx::{Sqlite, query},
    store::DeliveryState::{Done, Waiting},
    testing::TestInbox,
};
use router_tests::now;
use tokio::sync::Semaphore;

use crate::shop::{Shop, settle};

#[on_event("invoice.paid", name = "shop.single", concurrency = 1)]
async fn single(_: Event) {}

#[on_event("customer.created", name = "shop.other")]
async fn other(_: Event) {}

/// The run commits its outcome itself, as one with a `Tx` does, so the worker has nothing to
/// record for it.
#[tokio::test]
async fn run_that_finishes_during_a_claim_is_followed_by_the_next() {
    let permits = Arc::new(Semaphore::new(0));
    let router = Router::builder().only::<single>().only::<other>();
    let shop = Shop::with_store(router, |store| store.finish_permits = Some(permits.clone()));
    shop.receive("evt_1").await.unwrap();
    shop.receive("evt_2").await.unwrap();
    let worker = shop.inbox.worker(shop.inbox.router().clone());
    let worker = tokio::spawn(worker.run_until_idle());
    shop.wait_for("evt_1", Done, 1).await;
    assert_eq!(shop.state("evt_2").await, (Waiting, 0));
    // While the handler has no free slot, the worker claims for the other one only.
    shop.store().claim_permits.forget_permits(usize::MAX);
    shop.advance_and_poll(Duration::from_secs(1)).await;
    permits.add_permits(2);
    settle().await;
    shop.store().claim_permits.add_permits(9);
    worker.await.unwrap();
    assert_eq!(shop.state("evt_2").await, (Done, 1));
}

async fn write(mut tx: Tx<Sqlite>, event: &Event, handler: &str) -> Result<(), BoxError> {
    let insert = query("insert into done values (?, ?)").bind(handler).bind(event.id());
    insert.execute(tx.begin().await?).await?;
    Ok(())
}

#[on_event("customer.updated", name = "shop.lane", ordered)]
async fn lane(event: Event, tx: Tx<Sqlite>) -> Result<(), BoxError> {
    write(tx, &event, "shop.lane").await
}

#[on_event("customer.updated", name = "shop.newest", ordered = "newest")]
async fn newest(event: Event, tx: Tx<Sqlite>) -> Result<(), BoxError> {
    write(tx, &event, "shop.newest").await
}

#[on_event("customer.updated", name = "shop.one", concurrency = 1)]
async fn one(event: Event, tx: Tx<Sqlite>) -> Result<(), BoxError> {
    write(tx, &event, "shop.one").await
}

#[on_event("customer.updated", name = "shop.many")]
async fn many(_: Event) {
    tokio::task::yield_now().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_due_is_run() {
    let router = Router::builder().only::<lane>().only::<newest>().only::<one>().only::<many>();
    let shop = TestInbox::new(router).await.unwrap();
    query("create table done (handler text, event text)").execute(shop.pool()).await.unwrap();
    for id in 0..60 {
        // All events are equally recent, so `ordered = "newest"` skips none.
        let event = SyntheticEvent::new("customer.updated").id(format!("evt_{id}")).created(now());
        shop.deliver(event.set("id", format!("cus_{}", id % 3))).await.receipt();
    }
    shop.run_until_idle().await;
    assert_eq!(shop.store().backlog().await.unwrap(), []);
    for handler in ["shop.lane", "shop.newest", "shop.one", "shop.many"] {
        assert_eq!(shop.outcomes(handler), ["done"; 60], "{handler}");
    }
    let written = query("select 1 from done group by handler, event").fetch_all(shop.pool()).await;
    assert_eq!(written.unwrap().len(), 3 * 60);
}
