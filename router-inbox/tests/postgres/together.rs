//! Several processes that share a database.

use router_inbox::{Completed, DeliveryOutcome, DeliveryState, NewEvent, Store as _, Stored};
use sqlx::postgres::PgListener;

use crate::{
    InPostgres,
    support::{paid, shared, wanted},
};

#[tokio::test]
async fn what_was_stored_is_there_when_it_is_opened_again() {
    let Some(inbox) = InPostgres::made().await else { return };
    assert_eq!(inbox.store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let again = inbox.again().await;
    assert_eq!(again.store(&[paid("evt_1")]).await.unwrap(), [Stored::Duplicate]);
    // Two that have it open at once do not claim one delivery both.
    let lease = again.claim(&wanted(9)).await.unwrap().remove(0).lease;
    assert!(inbox.store.claim(&wanted(9)).await.unwrap().is_empty());
    let completed = inbox.store.complete(&[(lease, DeliveryOutcome::Done)]).await.unwrap();
    assert_eq!(completed, [Completed::Recorded]);
    assert_eq!(again.deliveries("evt_1").await.unwrap()[0].state, DeliveryState::Done);
}

#[tokio::test]
async fn what_another_process_stores_is_heard_of() {
    let Some(inbox) = InPostgres::made().await else { return };
    let other = inbox.again().await;
    let mut all = PgListener::connect(&inbox.url).await.unwrap();
    all.listen(&inbox.schema).await.unwrap();
    // That it listens from now on.
    inbox.store.notified().await;
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let ours = all.recv().await.unwrap();
    for _ in 0..5 {
        // So it has been heard by everybody.
        inbox.store.deliveries("evt_1").await.unwrap();
    }
    tokio::select! {
        biased;
        () = inbox.store.notified() => panic!("it has stored that itself"),
        () = std::future::ready(()) => {}
    }
    other.store(&[paid("evt_2")]).await.unwrap();
    inbox.store.notified().await;
    assert_ne!(all.recv().await.unwrap().payload(), ours.payload(), "each has a name");
    // Where nothing is there to be claimed nobody is told.
    let unhandled = NewEvent { deliveries: Vec::new(), ..paid("evt_3") };
    other.store(&[unhandled, paid("evt_1")]).await.unwrap();
    inbox.store.store(&[paid("evt_4")]).await.unwrap();
    assert_eq!(all.recv().await.unwrap().payload(), ours.payload());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_events_in_any_order_are_stored_once() {
    let Some(inbox) = InPostgres::made().await else { return };
    shared::the_same_events_in_any_order_are_stored_once(async || inbox.again().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_delivery_of_an_object_is_out_however_many_store_and_claim() {
    let Some(inbox) = InPostgres::made().await else { return };
    let another = async || inbox.again().await;
    shared::one_delivery_of_an_object_is_out_however_many_store_and_claim(another).await;
}
