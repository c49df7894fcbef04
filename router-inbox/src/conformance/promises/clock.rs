//! Promises about a clock that is set back: each delivery becomes due after at most the delay with
//! which it was scheduled.

use std::time::Duration;

use router_core::{delivery::DeliveryOrder, testing::SyntheticEvent};

use super::{SECOND, claim_request, complete, delivery, event, event_of, new, retry_in, store};
use crate::{
    Store,
    conformance::Subject,
    store::{Claim, DeliveryOutcome, DeliveryState, NewEvent},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// A delivery that was due before the clock was set back is due at once. A store may need a claim
/// that finds nothing to notice the jump, so the second claim must find the delivery.
pub async fn clock_set_back_delays_no_stored_event(subject: &impl Subject) {
    // The store has read its clock before the jump.
    assert_eq!(ids(&claim_from(subject.store()).await), [""; 0]);
    store(subject, &unordered_and_lane()).await;
    if !set_back(subject, HOUR).await {
        return;
    }
    let mut claims = claim_from(subject.store()).await;
    claims.extend(claim_from(subject.store()).await);
    assert_eq!(ids(&claims), ["evt_1", "evt_2"]);
    complete(subject, &claims[1].lease, DeliveryOutcome::Done).await;
    assert_eq!(ids(&claim_from(subject.store()).await), ["evt_3"], "it was blocked");
}

/// A due delivery is still due if the clock was set back while no process had the store open.
pub async fn clock_set_back_while_stopped_delays_no_event(subject: &impl Subject) {
    store(subject, &unordered_and_lane()).await;
    if !set_back(subject, HOUR).await {
        return;
    }
    let store = subject.reopen().await;
    let claims = claim_from(&store).await;
    assert_eq!(ids(&claims), ["evt_1", "evt_2"]);
    let outcome = [(claims[1].lease.clone(), DeliveryOutcome::Done)];
    store.complete(&outcome).await.expect("store is available");
    assert_eq!(ids(&claim_from(&store).await), ["evt_3"], "it was blocked");
}

/// After the clock was set back, a retry waits its delay, and a lease lasts for its duration.
pub async fn clock_set_back_keeps_delays_and_leases(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"]), new(&event("evt_2"), &["a"])]).await;
    let claims = claim_from(subject.store()).await;
    complete(subject, &claims[0].lease, retry_in(300)).await;
    if !set_back(subject, HOUR * 24 * 365 * 20).await {
        return;
    }
    let store = subject.reopen().await;
    assert_eq!(ids(&claim_from(&store).await), [""; 0]);
    subject.pass(SECOND * 50).await;
    assert_eq!(ids(&claim_from(&store).await), [""; 0]);
    let deliveries = store.deliveries("evt_2").await.expect("store is available");
    assert_eq!(deliveries[0].state, DeliveryState::Running);
    subject.pass(SECOND * 10).await;
    let expired = claim_from(&store).await;
    assert_eq!((ids(&expired), expired[0].lease_expired), (vec!["evt_2"], true));
    subject.pass(SECOND * 230).await;
    assert_eq!(ids(&claim_from(&store).await), ["evt_2"], "its lease has expired again");
    subject.pass(SECOND * 10).await;
    assert_eq!(ids(&claim_from(&store).await), ["evt_1"]);
}

/// Returns an unordered event, and two events of one lane.
fn unordered_and_lane() -> [NewEvent; 3] {
    let ordered = |id| {
        NewEvent::new(
            event_of(SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1")),
            vec![delivery("a", Some(DeliveryOrder::OldestFirst))],
        )
    };
    [new(&event("evt_1"), &["a"]), ordered("evt_2"), ordered("evt_3")]
}

/// Sets the clock back. Returns `false` if that is not possible.
async fn set_back(subject: &impl Subject, time: Duration) -> bool {
    let is_set_back = subject.set_back(time).await;
    if !is_set_back {
        println!("skipped: the store's clock cannot be set back");
    }
    is_set_back
}

async fn claim_from(store: &impl Store) -> Vec<Claim> {
    store.claim(&claim_request(&["a"], 9)).await.expect("store is available")
}

fn ids(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.event.as_ref().expect("event is readable").id()).collect()
}
