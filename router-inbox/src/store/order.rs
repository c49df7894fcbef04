//! The order of an object's events.

use std::time::{SystemTime, UNIX_EPOCH};

use router_core::{Event, delivery::DeliveryOrder, event::Recency};

/// The place of an event among the events of its object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrderKey {
    /// The object, including the account that owns it. With the handler it identifies the lane.
    ///
    /// For an event without an [`ObjectId`](router_core::event::ObjectId) this is the event's own
    /// key. The delivery is then alone in its lane, and neither waits for another nor blocks one.
    pub object: String,
    /// The [recency](Recency) of the event, which is never negative and higher for a newer event.
    pub recency: i64,
}

/// The recency of an event without a time. Stripe sends a time with every event.
pub(crate) const NO_TIME: i64 = 0;

impl OrderKey {
    /// Derives the key from an event.
    ///
    /// As in [`Recency`], the stage in the object's life comes first: `*.created` before all
    /// other events, `*.deleted` after them. Within a stage the event's `created` time (in
    /// seconds) decides. An event without a time comes before all others.
    #[must_use]
    pub fn from_event(event: &Event) -> Self {
        let recency = Recency::of_change(event).map_or(NO_TIME, Recency::as_i64);
        // The lane is never absent: SQL stores take a delivery without a lane as one of an
        // unordered handler, and a later replay would then not be ordered either.
        let object = match event.object_id() {
            Some(object) => object.to_string(),
            None => event.key().to_string(),
        };
        Self { object, recency }
    }

    /// Returns the position in the lane of a delivery with this order. The delivery with the
    /// smallest position goes first. Deliveries with equal positions keep the order in which they
    /// were stored.
    ///
    /// The position is negative for [`DeliveryOrder::NewestOnly`] only, and then
    /// [`newest_recency`] restores the recency from it.
    #[must_use]
    pub fn position(&self, order: DeliveryOrder) -> i64 {
        position(self.recency, order)
    }
}

/// The smallest position of a delivery that runs out of order. It is greater than each recency.
pub(crate) const OUT_OF_ORDER: i64 = 1 << 61;

/// Returns the position of a delivery that runs [later](crate::store::DeliveryOutcome::Later) out
/// of order, and is due at this time. It is behind all others of the lane, and those that run out
/// of order go by their due times.
#[must_use]
pub fn out_of_order_position(due: SystemTime) -> i64 {
    let due = due.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    OUT_OF_ORDER.saturating_add(i64::try_from(due).unwrap_or(i64::MAX))
}

/// Returns the position of a delivery with this order, see [`OrderKey::position`].
pub(crate) fn position(recency: i64, order: DeliveryOrder) -> i64 {
    match order {
        DeliveryOrder::OldestFirst => recency,
        DeliveryOrder::NewestOnly => !recency,
    }
}

/// Returns the recency of a [`DeliveryOrder::NewestOnly`] delivery at this position. Returns `None`
/// if the delivery has another order, or if its event has no time: such an event cannot be
/// compared, so it is never outdated and makes no other event outdated.
#[must_use]
pub fn newest_recency(position: i64) -> Option<i64> {
    let recency = (position < 0).then_some(!position)?;
    (recency != NO_TIME).then_some(recency)
}

/// Returns the text by which an operator finds the events of an object, without the account. Empty
/// if the event has no [`ObjectId`](router_core::event::ObjectId).
pub(crate) fn object_text(event: &Event) -> String {
    event.object_id().map(|object| object.as_str().to_owned()).unwrap_or_default()
}
