//! Promises about the longest durations and about large batches.

use std::time::Duration;

use super::{
    super::{event, limits::LARGE_BATCH, new, store},
    dead, list, read_status, store_completed,
};
use crate::{
    conformance::Subject,
    operations::{EventSelector, ListFilter},
    store::{DeliveryOutcome, Operations},
};

/// Every duration is accepted, up to [`Duration::MAX`]. No event is that old.
pub async fn longest_durations_are_accepted_by_operations(
    subject: &impl Subject<Store: Operations>,
) {
    store_completed(subject, "evt_1", "a", DeliveryOutcome::Done).await;
    store_completed(subject, "evt_2", "a", dead()).await;
    for longest in [Duration::MAX, Duration::from_millis(i64::MAX.unsigned_abs())] {
        let younger = EventSelector { max_age: Some(longest), ..EventSelector::default() };
        let younger = subject.store().select(&younger).await.expect("store is available");
        assert_eq!(younger.len(), 2, "{longest:?}");
        let older = EventSelector { min_age: Some(longest), ..EventSelector::default() };
        let older = subject.store().select(&older).await.expect("store is available");
        assert_eq!(older, [0; 0], "{longest:?}");
        let purged = subject.store().purge(&younger, longest).await.expect("store is available");
        assert_eq!(purged, 0, "{longest:?}");
    }
}

/// A batch of any size is counted and listed.
pub async fn large_batch_is_counted_and_listed(subject: &impl Subject<Store: Operations>) {
    let events: Vec<_> =
        (0..LARGE_BATCH).map(|number| new(&event(&format!("evt_{number}")), &["a"])).collect();
    store(subject, &events).await;
    let status = read_status(subject).await;
    let expected = LARGE_BATCH as u64;
    let counts = (status.events, status.handlers[0].waiting.number);
    assert_eq!(counts, (expected, expected), "{status:?}");
    let filter = ListFilter { limit: LARGE_BATCH * 2, ..ListFilter::default() };
    assert_eq!(list(subject, &filter).await.len(), LARGE_BATCH);
    let selected = subject.store().select(&EventSelector::default()).await;
    assert_eq!(selected.expect("store is available").len(), LARGE_BATCH);
}
