//! Values that PostgreSQL cannot store or index as they are.

use std::{slice::from_ref, time::Duration};

use router_core::{
    Event, delivery::DeliveryOrder::OldestFirst, event::StoredEvent, testing::SyntheticEvent,
};
use router_inbox::{
    Store as _,
    store::{
        CompleteResult, DeliveryOutcome, DeliveryState, NewDelivery, NewEvent, Redelivery, Stored,
    },
};

use crate::{
    TestInbox,
    support::{paid, shared, wanted},
};

/// PostgreSQL's texts cannot contain NUL, and an index entry holds at most 2,700 bytes. Stripe
/// sends neither, but an event that Stripe has signed must not be answered with 503 forever.
#[tokio::test]
async fn event_with_any_text_is_stored() {
    let Some(inbox) = TestInbox::create().await else { return };
    // Not repetitive, so that compression cannot shorten it.
    let long: String = (0..1_000).map(|n| format!("{:x}", 7_919_u64.pow(3) * n)).collect();
    for text in ["\0", &long] {
        let event = SyntheticEvent::new("customer.updated").id(format!("evt_{text}"));
        let event = event.account(format!("acct_{text}")).set("id", format!("cus_{text}"));
        let event = event.build().unwrap().event().clone();
        let payload = String::from_utf8(event.payload().to_vec()).unwrap();
        let payload = payload.replace("customer.updated", "customer.\\u0000");
        let stored = StoredEvent { payload: payload.into(), ..StoredEvent::from_event(&event) };
        let event = Event::from_store(stored).unwrap();
        let ordered = NewDelivery::new("a").order(Some(OldestFirst));
        let new = NewEvent::new(event.clone(), vec![ordered]);
        let duplicate = Stored::Redelivered(vec![Redelivery::Unchanged(DeliveryState::Waiting)]);
        let results = inbox.store.store(&[new.clone(), new]).await.unwrap();
        assert_eq!(results, [Stored::New, duplicate]);
        let claim = inbox.store.claim(&wanted(9)).await.unwrap().remove(0);
        assert_eq!(claim.event.unwrap().key(), event.key());
        let failed = DeliveryOutcome::Dead { error: format!("no {text}") };
        let results = inbox.store.complete(&[(claim.lease, failed)]).await.unwrap();
        assert_eq!(results, [CompleteResult::Recorded]);
        let delivery = inbox.store.deliveries(event.id()).await.unwrap().remove(0);
        assert_eq!(delivery.error, Some(format!("no {text}").replace('\0', "\u{2400}")));
    }
}

#[tokio::test]
async fn different_events_are_no_duplicates() {
    let Some(inbox) = TestInbox::create().await else { return };
    shared::different_events_are_no_duplicates(&*inbox.store).await;
}

#[tokio::test]
async fn longest_durations_are_accepted() {
    let Some(inbox) = TestInbox::create().await else { return };
    for longest in [Duration::MAX, Duration::from_millis(i64::MAX as u64)] {
        inbox.store.store(&[paid(&format!("evt_{longest:?}"))]).await.unwrap();
        let lease = inbox.store.claim(&wanted(9)).await.unwrap().remove(0).lease;
        let extended = inbox.store.extend(from_ref(&lease), longest).await.unwrap();
        assert_eq!(extended, [true]);
        let retry = DeliveryOutcome::Retry { wait: longest, error: "not now".into() };
        let results = inbox.store.complete(&[(lease, retry)]).await.unwrap();
        assert_eq!(results, [CompleteResult::Recorded]);
    }
}
