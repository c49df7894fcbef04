//! Promises about the age of due deliveries, from which the inbox notices that nothing delivers.

use std::time::Duration;

use router_core::{delivery::DeliveryOrder, testing::SyntheticEvent};

use super::{
    LEASE, SECOND, claim, claim_one, complete, delivery, event, event_of, new, retry_in, store,
};
use crate::{
    Store as _,
    conformance::Subject,
    store::{DeliveryOutcome, NewEvent},
};

/// The backlog has the time since the first of a handler's claimable deliveries became due. A
/// delivery that waits for a retry, is blocked in its lane or is leased cannot be claimed.
pub async fn backlog_states_age_of_oldest_due_delivery(subject: &impl Subject) {
    let oldest_due = async || {
        let backlog = subject.store().backlog().await.expect("store is available");
        let age = |age: Duration| age.as_secs() / 10 * 10;
        backlog.iter().map(|entry| entry.oldest_due.map(age)).collect::<Vec<_>>()
    };
    let ordered = |id| NewEvent {
        event: event_of(SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1")),
        deliveries: vec![delivery("ordered", Some(DeliveryOrder::OldestFirst))],
    };
    let unordered = new(&event("evt_1"), &["leased", "retried"]);
    store(subject, &[unordered, ordered("evt_2"), ordered("evt_3")]).await;
    subject.pass(SECOND * 100).await;
    store(subject, &[new(&event("evt_4"), &["leased"])]).await;
    assert_eq!(oldest_due().await, [Some(100), Some(100), Some(100)], "the first one counts");
    assert_eq!(claim(subject, &["leased"], 9).await.len(), 2);
    let first = claim_one(subject, "ordered").await;
    let retried = claim_one(subject, "retried").await;
    complete(subject, &retried.lease, retry_in(600)).await;
    assert_eq!(oldest_due().await, [None, None, None], "leased, blocked or due later");
    subject.pass(LEASE + SECOND * 30).await;
    assert_eq!(oldest_due().await, [Some(30), Some(30), None], "two leases have expired");
    complete(subject, &first.lease, retry_in(3_000)).await;
    assert_eq!(oldest_due().await, [Some(30), None, None], "the retry blocks its lane");
    subject.pass(SECOND * 530).await;
    assert_eq!(oldest_due().await, [Some(560), None, Some(20)], "the retry is due");
    for claim in claim(subject, &["leased", "retried"], 9).await {
        complete(subject, &claim.lease, DeliveryOutcome::Done).await;
    }
    assert_eq!(oldest_due().await, [None], "only the lane has unfinished deliveries");
}
