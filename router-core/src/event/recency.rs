//! How recent the state is that an event shows.

use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::Event;

/// How recent the state of the object is that a snapshot event shows, so that a handler can tell that
/// it has already seen a newer one. [Stripe promises no order of
/// events](https://docs.stripe.com/webhooks#event-ordering): an update can come before what it
/// updates, and late ones come after the deletion.
///
/// It orders by the stage in the object's life first: a `*.created` event is before all others of the
/// object and a `*.deleted` event after them, whatever the seconds say. In between it orders by the
/// second in which Stripe made the event. Two updates of one second are **equal**, and only what
/// [is older](Recency::is_older_than) may be dropped, so that a tie never loses a state.
///
/// Keep it beside what you keep of the object. A subscription that is created, updated and deleted,
/// in any order:
///
/// ```standalone_crate
/// use std::{collections::HashMap, sync::Mutex};
///
/// use router_core::{Object, Recency, State, on_event};
/// # use router_core::{Endpoint, Router, SigningSecret, clock::{Clock, SystemClock}, signature::sign};
///
/// #[derive(serde::Deserialize)]
/// struct Subscription { id: String, status: String }
///
/// /// By the subscription's id. One that is deleted stays here, as a tombstone.
/// #[derive(Default)]
/// struct Table { rows: Mutex<HashMap<String, (Recency, String)>> }
///
/// #[on_event("customer.subscription.*")]
/// async fn follow(now: Object<Subscription>, recency: Recency, table: State<Table>) {
///     let mut rows = table.rows.lock().expect("nobody panics with it");
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
/// // All of one second, and in the wrong order:
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
/// # In a database
///
/// In a table of your own it is one `BIGINT` ([`as_i64`](Recency::as_i64)). Compare it in the
/// statement that writes, because between a read and a write another event of the object can come:
///
/// ```sql
/// INSERT INTO subscriptions (id, status, recency) VALUES ($1, $2, $3)
/// ON CONFLICT (id) DO UPDATE SET status = excluded.status, recency = excluded.recency
/// WHERE subscriptions.recency <= excluded.recency
/// ```
///
/// A deletion is written as any state and keeps its row: were the row removed, a late update would bring
/// the object back.
///
/// # What it cannot tell
///
/// - Which of two updates of one second is the newer. Both are written, in the order in which they
///   came. Whoever must be exact fetches the object from Stripe's API, or compares
///   [`Previous`](crate::Previous) with what is kept.
/// - Anything of another object. It compares events whose `data.object` is one and the same object, by
///   its id: `charge.dispute.created` shows the dispute, not the charge.
/// - That an id lives twice. An id that you choose yourself (a coupon's, a plan's) can be created again
///   after it was deleted; the tombstone is newer than that.
/// - Anything of a thin event, which shows no state: what its handler fetches is as recent as the
///   fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recency(i64);

/// The stage stands above the seconds. 40 bits are 34,000 years, and the whole stays below 2^53, up to
/// which every reader of JSON knows an integer exactly.
const SECONDS_BITS: u32 = 40;

/// The stage in the object's life that an event shows.
#[derive(Clone, Copy)]
enum Stage {
    First,
    Between,
    Last,
}

impl Recency {
    /// How recent the state is that this event shows; `None` for an event that does not say when it
    /// was made, and for a thin event, which shows none.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        if event.is_thin() {
            return None;
        }
        // What lies out of range stays within its stage: at its beginning, or at its end.
        let seconds =
            event.created()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let seconds = seconds.min((1 << SECONDS_BITS) - 1).cast_signed();
        Some(Self(((Stage::of(event.event_type()) as i64) << SECONDS_BITS) + seconds))
    }

    /// As it was kept.
    #[must_use]
    pub fn from_i64(kept: i64) -> Self {
        Self(kept)
    }

    /// To be kept: a number that is greater the more recent it is, and never negative.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        self.0
    }

    /// Whether this state is strictly older than the one that was `seen`, and so may be dropped. Not
    /// so where they tie.
    #[must_use]
    pub fn is_older_than(self, seen: Self) -> bool {
        self < seen
    }
}

impl Stage {
    fn of(event_type: &str) -> Self {
        match event_type.rsplit('.').next() {
            Some("created") => Self::First,
            Some("deleted") => Self::Last,
            _ => Self::Between,
        }
    }
}
