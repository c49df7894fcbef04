//! Spreads a claim over the handlers.

use std::collections::HashMap;

use crate::ClaimRequest;

/// Selects the deliveries of a claim from due deliveries, as [`claim`](crate::Store::claim)
/// requires. Returns them in no particular order.
///
/// Each due delivery is paired with its handler's name. The deliveries of one handler are claimed
/// in the order in which they are passed. If several handlers have equally many in flight, the
/// smaller delivery (by `Ord`) is claimed.
pub(crate) fn spread<'n, D: Ord>(
    request: &ClaimRequest,
    due: impl IntoIterator<Item = (&'n str, D)>,
) -> Vec<D> {
    let mut handlers: HashMap<&str, (usize, usize)> = request
        .handlers
        .iter()
        .map(|slots| (&*slots.handler, (slots.free, slots.in_flight)))
        .collect();
    let mut ranked: Vec<_> = due
        .into_iter()
        .filter_map(|(handler, delivery)| {
            let (free, in_flight) = handlers.get_mut(handler)?;
            *free = free.checked_sub(1)?;
            let rank = *in_flight;
            *in_flight += 1;
            Some((rank, delivery))
        })
        .collect();
    ranked.sort_unstable();
    ranked.truncate(request.limit);
    ranked.into_iter().map(|(_, delivery)| delivery).collect()
}
