//! The recency of the object state in an event.

use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::Event;

/// The recency of the object state in a snapshot event. A handler compares it with the recency of
/// the state that it has stored, to detect an outdated event.
///
/// Stripe does [not guarantee the order of events][order]: an update can arrive before the creation
/// of its object, and a late update after the deletion.
///
/// A recency orders first by the stage in the object's life: a `*.created` event comes before all
/// other events of the object and a `*.deleted` event after them, regardless of their times.
/// Between these it orders by the second in which Stripe created the event. Two updates in one
/// second are **equal**, and only a state that [is older](Recency::is_older_than) may be dropped,
/// so a tie never loses a state.
///
/// Store the recency next to the state of the object. This example handles the creation, update and
/// deletion of a subscription in any order:
///
/// [order]: https://docs.stripe.com/webhooks#event-ordering
///
/// ```standalone_crate
/// use std::{collections::HashMap, sync::Mutex};
///
/// use router_core::{Object, State, event::Recency, on_event};
/// # use router_core::{Endpoint, Router, SigningSecret, clock::{Clock, SystemClock}, signature::sign};
///
/// #[derive(serde::Deserialize)]
/// struct Subscription { id: String, status: String }
///
/// /// Subscriptions by id. A deleted subscription stays here as a tombstone.
/// #[derive(Default)]
/// struct Table { rows: Mutex<HashMap<String, (Recency, String)>> }
///
/// #[on_event("customer.subscription.*")]
/// async fn follow(now: Object<Subscription>, recency: Recency, table: State<Table>) {
///     let mut rows = table.rows.lock().expect("the lock is not poisoned");
///     match rows.get(&now.id) {
///         Some((seen, _)) if recency.is_older_than(*seen) => {}
///         _ => drop(rows.insert(now.0.id, (recency, now.0.status))),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let secret = SigningSecret::new("whsec_test")?;
/// # let table = std::sync::Arc::new(Table::default());
/// # let router = Router::builder().shared_state(table.clone()).build()?;
/// # let endpoint = Endpoint::new(secret.clone(), router);
/// # let send = async |change: &str, status: &str| {
/// #     let body = format!(r#"{{"id": "evt_{change}", "object": "event", "type": "customer.subscription.{change}",
/// #         "created": 1700000000, "data": {{"object": {{"id": "sub_1", "status": "{status}"}}}}}}"#);
/// #     let now = SystemClock.wall().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
/// #     let signature = sign(&secret, now, body.as_bytes());
/// #     let response = endpoint.receive(Some(signature.as_bytes()), body.into()).await;
/// #     assert_eq!(response.status(), 200);
/// # };
/// // All events are of the same second and arrive in the wrong order:
/// send("updated", "active").await;
/// send("created", "incomplete").await; // older: dropped
/// # assert_eq!(table.rows.lock().unwrap()["sub_1"].1, "active");
/// send("deleted", "canceled").await;
/// send("updated", "past_due").await; // older: dropped
/// assert_eq!(table.rows.lock().unwrap()["sub_1"].1, "canceled");
/// # Ok(())
/// # }
/// ```
///
/// # Without a comparison
///
/// With an inbox, `ordered = "newest"` makes the comparison for the handler: the inbox remembers
/// the recency of the newest event that the handler has done, and skips older ones (see
/// [`DeliveryOrder::NewestOnly`](crate::delivery::DeliveryOrder::NewestOnly)). The statement below
/// is for an application that stores the recency in a table of its own.
///
/// # In a database
///
/// In a database, a recency is one `BIGINT` ([`as_i64`](Recency::as_i64)). Compare it in the
/// statement that writes, because another event of the object can arrive between a read and a
/// write:
///
/// ```sql
/// INSERT INTO subscriptions (id, status, recency) VALUES ($1, $2, $3)
/// ON CONFLICT (id) DO UPDATE SET status = excluded.status, recency = excluded.recency
/// WHERE subscriptions.recency <= excluded.recency
/// ```
///
/// Write a deletion like any other state and keep its row; without the row, a late update would
/// restore the object.
///
/// # Limits
///
/// - Two updates of one second cannot be ordered. Both are written, in the order of their arrival.
///   For an exact answer, fetch the object from Stripe's API, or compare
///   [`Previous`](crate::Previous) with the stored state.
/// - Events of different objects cannot be compared. `data.object` must be the same object, by its
///   id: `charge.dispute.created` contains the dispute, not the charge.
/// - An object without an id is identified as in [`ObjectId`](super::ObjectId): a recency orders
///   the states of an account's balance, or the upcoming invoices of a subscription. Store it under
///   that identity.
/// - An id can be reused. An object whose id you choose yourself (a coupon, a plan) can be created
///   again after its deletion; the tombstone is newer than the new object.
/// - A handler of a thin event gets no recency, because the event contains no state. An object that
///   the handler fetches is as recent as the fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recency(i64);

/// The number of bits for the seconds, below the bits for the stage. 40 bits of seconds are 34,000
/// years, and the sum stays below 2^53, up to which JSON readers represent integers exactly.
const SECONDS_BITS: u32 = 40;

/// A stage in an object's life.
#[derive(Clone, Copy)]
enum Stage {
    Created,
    Changed,
    Deleted,
}

impl Recency {
    /// Returns the recency of the state in an event. It is `None` for an event without a creation
    /// time, and for a thin event, which contains no state.
    #[must_use]
    pub fn from_event(event: &Event) -> Option<Self> {
        if event.is_thin() { None } else { Self::of_change(event) }
    }

    /// Returns the recency of the change that an event reports, or `None` for an event without a
    /// creation time.
    ///
    /// A thin event has one too. Its type ends in the same words (`created`, `deleted`), and it has
    /// a creation time, so it can be ordered among the snapshot events of its object. In contrast,
    /// [`from_event`](Self::from_event) returns `None` for a thin event, because the event contains
    /// no state. The state that its handler fetches can be newer than the event.
    #[must_use]
    pub fn of_change(event: &Event) -> Option<Self> {
        // A time out of range becomes the beginning or the end of the stage.
        let seconds =
            event.created()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let seconds = seconds.min((1 << SECONDS_BITS) - 1).cast_signed();
        Some(Self(((Stage::from_event_type(event.event_type()) as i64) << SECONDS_BITS) + seconds))
    }

    /// Restores a recency from the number that [`as_i64`](Self::as_i64) returned.
    #[must_use]
    pub fn from_i64(stored: i64) -> Self {
        Self(stored)
    }

    /// Returns the recency as a number to store: never negative, and greater for a more recent
    /// state.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        self.0
    }

    /// Returns whether this state is strictly older than the one `seen` before, and so may be
    /// dropped. Returns `false` for a tie.
    #[must_use]
    pub fn is_older_than(self, seen: Self) -> bool {
        self < seen
    }
}

impl Stage {
    fn from_event_type(event_type: &str) -> Self {
        match event_type.rsplit('.').next() {
            Some("created") => Self::Created,
            Some("deleted") => Self::Deleted,
            _ => Self::Changed,
        }
    }
}
