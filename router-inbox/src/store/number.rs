//! The numbers of deliveries.

/// Upper limit of the number of deliveries of one event, see [`delivery_number`].
const MAX_DELIVERIES: i64 = 1 << 10;

/// Returns the number of a delivery, by which lists are sorted. It ascends with the number of the
/// event, then with the delivery's index among those of the event, so that a delivery which is
/// added when its event is redelivered is listed with that event.
pub(crate) fn delivery_number(event: i64, index: usize) -> i64 {
    let index = i64::try_from(index).unwrap_or(MAX_DELIVERIES);
    event.saturating_mul(MAX_DELIVERIES).saturating_add(index)
}
