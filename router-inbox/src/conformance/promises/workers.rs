//! Promises about the age of due deliveries and about the running workers, from which an inbox
//! detects missing workers.

use std::time::Duration;

use router_core::{delivery::DeliveryOrder, testing::SyntheticEvent};

use super::{
    LEASE, SECOND, claim, claim_one, complete, delivery, event, event_of, new, retry_in, store,
};
use crate::{
    Store as _,
    conformance::Subject,
    store::{DeliveryOutcome, NewEvent, WorkerInfo},
};

const TTL: Duration = Duration::from_secs(60);

/// The backlog has the time since the first of a handler's claimable deliveries became due. A
/// delivery that waits for a retry, is blocked in its lane or is leased cannot be claimed.
pub async fn backlog_states_age_of_oldest_due_delivery(subject: &impl Subject) {
    let oldest_due = async || {
        let backlog = subject.store().backlog().await.expect("store is available");
        let age = |age: Duration| age.as_secs() / 10 * 10;
        backlog.iter().map(|entry| entry.oldest_due.map(age)).collect::<Vec<_>>()
    };
    let ordered = |id| {
        NewEvent::new(
            event_of(SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1")),
            vec![delivery("ordered", Some(DeliveryOrder::OldestFirst))],
        )
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

/// A reported worker is listed, with its handlers, until the time to live of its report has passed.
/// The list is sorted by name.
pub async fn reported_worker_is_listed_until_its_ttl_ends(subject: &impl Subject) {
    let Some(none) = workers(subject).await else { return };
    assert_eq!(none, []);
    let (a, b) = (worker("a", &["orders.fulfil", "mail"]), worker("b 1/é", &[]));
    report(subject, &b, TTL * 2).await;
    report(subject, &a, TTL).await;
    assert_eq!(workers(subject).await, Some(vec![a.clone(), b.clone()]));
    subject.pass(TTL - SECOND * 10).await;
    assert_eq!(workers(subject).await, Some(vec![a.clone(), b.clone()]));
    subject.pass(SECOND * 10).await;
    assert_eq!(workers(subject).await, Some(vec![b]));
    // An expired record does not prevent a later report.
    report(subject, &a, TTL * 2).await;
    subject.pass(TTL + SECOND).await;
    assert_eq!(workers(subject).await, Some(vec![a]));
}

/// A worker that reports a time to live of zero has stopped, and is not listed any more.
pub async fn worker_reported_with_zero_ttl_is_removed(subject: &impl Subject) {
    if workers(subject).await.is_none() {
        return;
    }
    let (a, b) = (worker("a", &["mail"]), worker("b", &["mail"]));
    report(subject, &a, Duration::ZERO).await;
    assert_eq!(workers(subject).await, Some(vec![]), "it had not been reported before");
    report(subject, &a, TTL).await;
    report(subject, &b, TTL).await;
    report(subject, &a, Duration::ZERO).await;
    assert_eq!(workers(subject).await, Some(vec![b]));
}

/// A report replaces the earlier one of the same name: the handlers, and the end of its time to
/// live, which may become earlier.
pub async fn worker_report_replaces_the_earlier_one(subject: &impl Subject) {
    if workers(subject).await.is_none() {
        return;
    }
    report(subject, &worker("a", &["mail"]), TTL).await;
    subject.pass(TTL / 2).await;
    let renamed = worker("a", &["letters", "mail"]);
    report(subject, &renamed, TTL).await;
    subject.pass(TTL / 2 + SECOND).await;
    assert_eq!(workers(subject).await, Some(vec![renamed.clone()]));
    report(subject, &renamed, SECOND).await;
    subject.pass(SECOND).await;
    assert_eq!(workers(subject).await, Some(vec![]));
}

fn worker(name: &str, handlers: &[&str]) -> WorkerInfo {
    WorkerInfo::new(name, handlers.iter().map(|handler| (*handler).into()))
}

async fn report(subject: &impl Subject, worker: &WorkerInfo, ttl: Duration) {
    subject.store().report_worker(worker, ttl).await.expect("store is available");
}

/// Returns the running workers, or `None` if the store does not record them. The promises then
/// check nothing.
async fn workers(subject: &impl Subject) -> Option<Vec<WorkerInfo>> {
    subject.store().workers().await.expect("store is available")
}
