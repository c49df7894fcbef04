//! A claim that is delayed, so that it is based on an outdated view.

use router_core::delivery::DeliveryOrder;
use router_inbox::{
    Store as _,
    store::{Claim, CompleteResult, DeliveryOutcome, NewEvent},
};
use tokio::task::JoinHandle;

use super::{TestInbox, holding_proxy::HoldingProxy};
use crate::support::{created, updated, wanted};

/// A header that only the claim of an ordered delivery has among the worker's requests.
const CLAIM: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// The end of the request with which a worker reads the last sequence of an object's open records.
const LANE: &str = ".*.*.*\"";

/// The worker sees that the delivery is the first of its object. Before its claim reaches the
/// server, an older one is stored and claimed.
#[tokio::test]
async fn ordered_claim_fails_if_lane_changed() {
    let Some(inbox) = TestInbox::create().await else { return };
    let claiming = DelayedClaim::start(&inbox, updated("evt_2", 1), CLAIM).await;
    inbox.store.store(&[created("evt_1", 1)]).await.unwrap();
    let claims = inbox.store.claim(&wanted(9)).await.unwrap();
    assert_eq!(claims[0].event.as_ref().unwrap().id(), "evt_1");
    assert!(claiming.finish().await.is_empty(), "two of one object would run");
}

/// The worker sees that the handler has done no newer event of the object. Before its claim reaches
/// the server, or before it has read the lane, a newer one is stored, claimed and done.
#[tokio::test]
async fn newest_claim_is_outdated_if_newer_event_was_done() {
    let newest = |mut new: NewEvent| {
        new.deliveries[0].order = Some(DeliveryOrder::NewestOnly);
        new
    };
    for delayed in [CLAIM, LANE] {
        let Some(inbox) = TestInbox::create().await else { return };
        let claiming = DelayedClaim::start(&inbox, newest(created("evt_1", 1)), delayed).await;
        inbox.store.store(&[newest(updated("evt_2", 1))]).await.unwrap();
        let claim = inbox.store.claim(&wanted(9)).await.unwrap().remove(0);
        assert_eq!(claim.event.as_ref().unwrap().id(), "evt_2");
        let outcome = [(claim.lease, DeliveryOutcome::Done)];
        assert_eq!(inbox.store.complete(&outcome).await.unwrap(), [CompleteResult::Recorded]);
        // If the server refuses the claim, the worker tries again.
        let claims = claiming.finish().await;
        assert_eq!(claims.len(), 1);
        assert_eq!((claims[0].event.as_ref().unwrap().id(), claims[0].outdated), ("evt_1", true));
    }
}

/// A claim by another process, which is delayed on its way to the server.
struct DelayedClaim {
    claiming: JoinHandle<Vec<Claim>>,
    proxy: HoldingProxy,
}

impl DelayedClaim {
    /// Stores the event, and starts to claim its delivery. The first request with the given text is
    /// delayed.
    async fn start(inbox: &TestInbox, new: NewEvent, delayed: &'static str) -> Self {
        let (other, proxy) = HoldingProxy::connect(inbox, delayed).await;
        inbox.store.store(&[new]).await.expect("server runs");
        while other.backlog().await.expect("server runs").is_empty() {
            tokio::task::yield_now().await;
        }
        let claiming =
            tokio::spawn(async move { other.claim(&wanted(9)).await.expect("server runs") });
        proxy.held.notified().await;
        Self { claiming, proxy }
    }

    /// Lets the claim reach the server, and returns the claimed deliveries.
    async fn finish(self) -> Vec<Claim> {
        self.proxy.resume.notify_one();
        self.claiming.await.expect("claim does not panic")
    }
}
