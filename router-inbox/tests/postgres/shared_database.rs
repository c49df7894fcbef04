//! Several processes that share a database.

use router_inbox::{
    Store as _,
    store::{CompleteResult, DeliveryOutcome, DeliveryState, NewEvent, Redelivery, Stored},
};
use sqlx::postgres::PgListener;

use crate::{
    TestInbox,
    support::{paid, shared, wanted},
};

#[tokio::test]
async fn reopened_inbox_has_stored_events() {
    let Some(inbox) = TestInbox::create().await else { return };
    assert_eq!(inbox.store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let other = inbox.reopen().await;
    assert!(other.store(&[paid("evt_1")]).await.unwrap()[0].is_duplicate());
    // Two stores that share the database never claim the same delivery.
    let lease = other.claim(&wanted(9)).await.unwrap().remove(0).lease;
    assert!(inbox.store.claim(&wanted(9)).await.unwrap().is_empty());
    let completed = inbox.store.complete(&[(lease, DeliveryOutcome::Done)]).await.unwrap();
    assert_eq!(completed, [CompleteResult::Recorded]);
    assert_eq!(other.deliveries("evt_1").await.unwrap()[0].state, DeliveryState::Done);
}

#[tokio::test]
async fn event_stored_by_other_process_notifies() {
    let Some(inbox) = TestInbox::create().await else { return };
    let other = inbox.reopen().await;
    let mut listener = PgListener::connect(&inbox.url).await.unwrap();
    listener.listen(&inbox.schema).await.unwrap();
    // Returns once the store listens.
    inbox.store.notified().await;
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let own = listener.recv().await.unwrap();
    for _ in 0..5 {
        // The notification reaches the store before these queries have been answered.
        inbox.store.deliveries("evt_1").await.unwrap();
    }
    tokio::select! {
        biased;
        () = inbox.store.notified() => panic!("notified of its own event"),
        () = std::future::ready(()) => {}
    }
    other.store(&[paid("evt_2")]).await.unwrap();
    inbox.store.notified().await;
    assert_ne!(
        listener.recv().await.unwrap().payload(),
        own.payload(),
        "each store has its own name"
    );
    // A restarted delivery notifies, too.
    let claim = inbox.store.claim(&wanted(1)).await.unwrap().remove(0);
    let dead = DeliveryOutcome::Dead { error: "missing field".into() };
    inbox.store.complete(&[(claim.lease, dead)]).await.unwrap();
    let restarted = other.store(&[paid(claim.event.unwrap().id())]).await.unwrap();
    assert_eq!(restarted, [Stored::Redelivered(vec![Redelivery::Restarted])]);
    inbox.store.notified().await;
    assert_ne!(listener.recv().await.unwrap().payload(), own.payload());
    // Events without a new delivery notify nobody.
    let unhandled = NewEvent::new(paid("evt_3").event, Vec::new());
    other.store(&[unhandled, paid("evt_1")]).await.unwrap();
    inbox.store.store(&[paid("evt_4")]).await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), own.payload());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_duplicates_are_stored_once() {
    let Some(inbox) = TestInbox::create().await else { return };
    shared::concurrent_duplicates_are_stored_once(async || inbox.reopen().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_ordered_delivery_runs_per_object() {
    let Some(inbox) = TestInbox::create().await else { return };
    let open = async || inbox.reopen().await;
    shared::one_ordered_delivery_runs_per_object(open).await;
}
