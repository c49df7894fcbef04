//! Notifications, whose payloads name the store that sent them.

use router_inbox::{Store as _, conformance::Subject as _, store::NewEvent};
use sqlx::postgres::PgListener;

use super::TestInbox;
use crate::support::paid;

#[tokio::test]
async fn own_events_and_duplicates_do_not_notify() {
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
    // Events without a new delivery cause no notification.
    let unhandled = NewEvent::new(paid("evt_3").event, Vec::new());
    other.store(&[unhandled, paid("evt_1")]).await.unwrap();
    inbox.store.store(&[paid("evt_4")]).await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), own.payload());
}
