//! Finds the events that Stripe could not deliver.
//!
//! Stripe redelivers an event for up to three days, and its API lists the events of the last 30
//! days. An [`EventReader`] reads them, the oldest first, as the same events that a webhook would
//! have delivered.
//!
//! ```
//! use router_stripe::reconcile::{EventList, EventReader, EventSource};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let stripe = router_stripe::testing::StubStripe::start().await?;
//! # let client = stripe.client();
//! let source = EventSource::new(EventList::Undelivered, "default");
//! let mut reader = EventReader::new(&client, source);
//! while let Some(batch) = reader.next().await? {
//!     for event in batch.events {
//!         println!("{} {}", event.id(), event.event_type());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A restricted key needs the permission to read events, and to read connected accounts if they are
//! listed.
//!
//! `Reconcile` (feature `inbox`) is a server's task that hands the missed events to an inbox.

mod accounts;
mod checkpoint;
#[cfg(feature = "inbox")]
mod endpoints;
#[cfg(feature = "inbox")]
mod lookup;
#[cfg(feature = "inbox")]
mod pass;
mod reader;
#[cfg(feature = "inbox")]
mod result;
mod source;
#[cfg(feature = "inbox")]
mod task;
#[cfg(feature = "inbox")]
mod telemetry;
#[cfg(feature = "inbox")]
mod thin;

pub use self::{
    accounts::connected_accounts,
    checkpoint::{format_checkpoint, is_in_future, parse_checkpoint},
    reader::{EventBatch, EventReader, SAFE_AGE},
    source::{EventList, EventSource},
};
#[cfg(feature = "inbox")]
pub use self::{
    lookup::{Lookup, has_identity_of, look_up},
    result::{ReconcileError, Summary},
    task::Reconcile,
};

/// The list of snapshot events.
pub(crate) const V1: &str = "/v1/events";
/// The list of thin events.
pub(crate) const V2: &str = "/v2/core/events";
/// The list of connected accounts.
pub(crate) const ACCOUNTS: &str = "/v1/accounts";
