//! What PostgreSQL does not take as it comes.

use std::{slice::from_ref, time::Duration};

use router_core::{Event, event::StoredEvent, testing::SyntheticEvent};
use router_inbox::{Completed, DeliveryOutcome, NewDelivery, NewEvent, Store as _, Stored};

use crate::{
    InPostgres,
    support::{paid, shared, wanted},
};

/// PostgreSQL's texts have no NUL, and what is in an index no more than 2,700 bytes. Stripe sends neither, but what
/// it signs is not to be answered with 503 for ever.
#[tokio::test]
async fn an_event_is_kept_whatever_is_in_its_texts() {
    let Some(inbox) = InPostgres::made().await else { return };
    // What repeats would be compressed.
    let long: String = (0..1_000).map(|n| format!("{:x}", 7_919_u64.pow(3) * n)).collect();
    for text in ["\0", &long] {
        let event = SyntheticEvent::new("customer.updated").id(format!("evt_{text}"));
        let event = event.account(format!("acct_{text}")).set("id", format!("cus_{text}"));
        let event = event.build().unwrap().event().clone();
        let payload = String::from_utf8(event.payload().to_vec()).unwrap();
        let payload = payload.replace("customer.updated", "customer.\\u0000");
        let kept = StoredEvent { payload: payload.into(), ..StoredEvent::of(&event) };
        let event = Event::from_store(kept).unwrap();
        let ordered = NewDelivery { handler: "a".into(), ordered: true };
        let new = NewEvent { event: event.clone(), deliveries: vec![ordered] };
        let told = inbox.store.store(&[new.clone(), new]).await.unwrap();
        assert_eq!(told, [Stored::New, Stored::Duplicate]);
        let claim = inbox.store.claim(&wanted(9)).await.unwrap().remove(0);
        assert_eq!(claim.event.unwrap().key(), event.key());
        let failed = DeliveryOutcome::Dead { error: format!("no {text}") };
        let told = inbox.store.complete(&[(claim.lease, failed)]).await.unwrap();
        assert_eq!(told, [Completed::Recorded]);
        let kept = inbox.store.deliveries(event.id()).await.unwrap().remove(0);
        assert_eq!(kept.error, Some(format!("no {text}").replace('\0', "\u{2400}")));
    }
}

#[tokio::test]
async fn no_two_events_are_taken_for_one() {
    let Some(inbox) = InPostgres::made().await else { return };
    shared::no_two_events_are_taken_for_one(&*inbox.store).await;
}

#[tokio::test]
async fn a_wait_may_be_as_long_as_there_is() {
    let Some(inbox) = InPostgres::made().await else { return };
    for longest in [Duration::MAX, Duration::from_millis(i64::MAX as u64)] {
        inbox.store.store(&[paid(&format!("evt_{longest:?}"))]).await.unwrap();
        let lease = inbox.store.claim(&wanted(9)).await.unwrap().remove(0).lease;
        let extended = inbox.store.extend(from_ref(&lease), longest).await.unwrap();
        assert_eq!(extended, [true]);
        let never = DeliveryOutcome::Retry { wait: longest, error: "not now".into() };
        let told = inbox.store.complete(&[(lease, never)]).await.unwrap();
        assert_eq!(told, [Completed::Recorded]);
    }
}
