//! Promises about a server that becomes unavailable and comes back.

use std::{slice::from_ref, sync::Arc, time::Duration};

use router_core::{
    clock::{Clock as _, SystemClock},
    handler::ErrorChain,
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    claim, claim_request, duplicate, event, new,
    processes::notifications_ready,
    store,
    wait::{eventually, within_limit},
};
use crate::{
    Store as _,
    conformance::{ServerSubject, Subject},
    store::{CompleteResult, DeliveryOutcome, DeliveryState, StoreErrorKind, Stored},
};

/// Maximum time for a call to fail, so that Stripe is answered within seconds.
const MAX_TIME_TO_FAIL: Duration = Duration::from_secs(6);

/// While the server is unavailable, calls fail within seconds. Once it is back, the store recovers
/// without intervention.
pub async fn unavailable_server_fails_soon_and_is_reused<S: ServerSubject>(subject: &S) {
    let events = ["evt_1", "evt_2", "evt_3", "evt_4"].map(|id| new(&event(id), &["a"]));
    let [_, second, third, fourth] = &events;
    store(subject, &events[..2]).await;
    let lease = claim(subject, &["a"], 1).await.remove(0).lease;
    // If the store has several connections, more than one is lost.
    let (first, other) =
        tokio::join!(subject.store().deliveries("evt_1"), subject.store().deliveries("evt_2"));
    assert_eq!([first, other].map(|found| found.expect("store is available").len()), [1, 1]);
    notifications_ready(subject).await;
    subject.stop().await;
    for _ in 0..2 {
        let began = SystemClock.monotonic();
        let result = subject.store().store(from_ref(third)).await;
        let error = result.expect_err("server is stopped");
        let took = SystemClock.monotonic() - began;
        assert!(took < MAX_TIME_TO_FAIL, "{took:?}: {error:?}");
        let kinds = [StoreErrorKind::Unavailable, StoreErrorKind::Busy];
        assert!(kinds.contains(&error.kind()), "{error:?}");
        let message = ErrorChain::new(&error).text();
        assert!(message.contains(&subject.address()), "{message}");
    }
    // A wait that begins during the outage ends after it: other processes may have stored events
    // before this one is connected again.
    tokio::join!(notifications_ready(subject), subject.start());
    let batch = [second.clone(), third.clone()];
    let stored = eventually(async || subject.store().store(&batch).await.map(Some)).await;
    assert_eq!(stored, [duplicate(&[DeliveryState::Waiting]), Stored::New]);
    let done = [(lease, DeliveryOutcome::Done)];
    let completed = eventually(async || subject.store().complete(&done).await.map(Some)).await;
    assert_eq!(completed, [CompleteResult::Recorded], "a lease survives a restart of the server");
    for _ in 0..2 {
        claim_one_after_outage(subject).await;
    }
    let other = subject.reopen().await;
    other.store(from_ref(fourth)).await.expect("store is available");
    if S::notifies() {
        within_limit(subject.store().notified()).await;
    }
    claim_one_after_outage(subject).await;
}

/// Claims one delivery, once the store is available and has one.
async fn claim_one_after_outage(subject: &impl Subject) {
    let request = claim_request(&["a"], 1);
    eventually(async || Ok(subject.store().claim(&request).await?.pop())).await;
}

/// An event that a store has acknowledged is still stored after its server was killed during other
/// writes.
pub async fn acknowledged_events_survive_killed_server(subject: &impl ServerSubject) {
    let store = Arc::new(subject.reopen().await);
    for round in 0..3 {
        let mut tasks = JoinSet::new();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        for task in 0..4 {
            let (store, sender) = (store.clone(), sender.clone());
            tasks.spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    let id = format!("evt_{round}_{task}_{number}");
                    if store.store(&[new(&event(&id), &["a"])]).await.is_err() {
                        break;
                    }
                    acknowledged.push(id);
                    // The receiver is gone once enough events are stored.
                    sender.send(()).unwrap_or_default();
                }
                acknowledged
            });
        }
        for _ in 0..10 {
            receiver.recv().await.expect("tasks store until the server is killed");
        }
        subject.kill().await;
        let acknowledged = tasks.join_all().await.concat();
        subject.start().await;
        for id in acknowledged {
            let deliveries = eventually(async || store.deliveries(&id).await.map(Some)).await;
            assert_eq!(deliveries.len(), 1, "{id}");
        }
    }
}
