//! Events that the inbox has purged, or may have purged.

use router_inbox::operations::{EventSelector, MIN_RETENTION};
use router_stripe::reconcile::ReconcileError;

use crate::{
    events::{V1, ago, missed},
    shop::{CHECKPOINT, DAY, HOUR, Shop},
};

impl Shop {
    /// Receives and handles an event, of which Stripe lists that another endpoint has failed.
    async fn handle(&self, id: &str, created: u64) {
        let event = missed(id, created);
        self.webhook(&event).await;
        self.stripe.add_item(V1, event);
        self.inbox.run_until_idle().await;
    }

    async fn purge(&self) -> u64 {
        let events = self.operations().select(&EventSelector::default()).await;
        let events = events.expect("store is available");
        self.operations().purge(&events, MIN_RETENTION).await.expect("store is available")
    }
}

#[tokio::test]
async fn purged_event_is_not_handled_again() {
    let shop = Shop::open().await;
    shop.handle("evt_1", ago(HOUR)).await;
    shop.wait(MIN_RETENTION + HOUR);
    assert_eq!(shop.purge().await, 1);
    let summary = shop.pass().await.expect("there is no checkpoint");
    assert_eq!(summary.listed, 0, "{summary:?}");
    shop.assert_each_handled_once(1).await;
}

#[tokio::test]
async fn event_that_cannot_be_purged_yet_is_read_by_the_first_pass() {
    let shop = Shop::open().await;
    shop.stripe.add_item(V1, missed("evt_1", ago(HOUR)));
    shop.wait(3 * DAY + 10 * HOUR);
    assert_eq!(shop.pass().await.expect("stub answers").missed, 1);
}

/// The server and its worker ran for 20 days without the search.
#[tokio::test]
async fn event_purged_since_the_checkpoint_is_not_handled_again() {
    let shop = Shop::open().await;
    shop.pass().await.expect("stub answers");
    let checkpoint = shop.checkpoint().await;
    shop.handle("evt_purged", ago(HOUR / 120)).await;
    shop.wait(20 * DAY);
    assert_eq!(shop.purge().await, 1);
    shop.stripe.add_item(V1, missed("evt_recent", ago(HOUR) + 20 * DAY.as_secs()));
    for _ in 0..2 {
        let error = shop.pass().await.expect_err("events of 16 days may have been purged");
        assert!(matches!(error, ReconcileError::Gap { .. }), "{error:?}");
        assert!(error.to_string().contains("`Reconcile::since`"), "{error}");
        assert_eq!(shop.checkpoint().await, checkpoint);
        // The recent event has been handed over.
        shop.assert_each_handled_once(2).await;
    }
}

/// The whole program was down for 20 days, and retains events for 30 days.
#[tokio::test]
async fn outage_is_read_from_the_checkpoint_if_the_age_is_set() {
    let mut shop = Shop::open().await;
    shop.pass().await.expect("stub answers");
    shop.stripe.add_item(V1, missed("evt_missed", ago(HOUR / 120)));
    shop.wait(20 * DAY);
    shop.pass().await.expect_err("no age is set");
    shop.assert_each_handled_once(0).await;
    shop.reconcile = shop.reconcile.since(29 * DAY);
    assert_eq!(shop.pass().await.expect("stub answers").missed, 1);
    assert_eq!(shop.pass().await.expect("stub answers").listed, 0);
    shop.assert_each_handled_once(1).await;
}

#[tokio::test]
async fn set_age_gives_up_older_events() {
    let mut shop = Shop::open().await;
    shop.pass().await.expect("stub answers");
    let checkpoint = shop.checkpoint().await;
    shop.stripe.add_item(V1, missed("evt_missed", ago(HOUR / 120)));
    shop.wait(20 * DAY);
    shop.reconcile = shop.reconcile.since(10 * DAY);
    assert_eq!(shop.pass().await.expect("the age is set").listed, 0);
    assert_ne!(shop.checkpoint().await, checkpoint);
}

#[tokio::test]
async fn checkpoint_in_the_future_is_ignored() {
    let shop = Shop::open().await;
    shop.stripe.add_item(V1, missed("evt_1", ago(HOUR)));
    let set = shop.operations().set_checkpoint(CHECKPOINT, "2999-01-01T00:00:00Z");
    set.await.expect("store is available");
    assert_eq!(shop.pass().await.expect("stub answers").missed, 1);
    assert!(shop.checkpoint().await.is_some_and(|checkpoint| !checkpoint.starts_with("2999")));
}
