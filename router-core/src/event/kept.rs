//! An event that went into a store and comes out again.

use std::{fmt, time::SystemTime};

use bytes::Bytes;

use super::{EnvelopeError, Event};
use crate::signature::EndpointName;

/// An event as a store has kept it, and the caller's word that it was verified before it went in: nothing is
/// verified here. Only for what a program itself has stored where nobody else can write.
///
/// ```
/// use router_core::{Event, event::StoredEvent, testing::SyntheticEvent};
///
/// let event = SyntheticEvent::new("invoice.paid").build()?.event().clone();
/// let kept = StoredEvent { generation: 1, ..StoredEvent::of(&event) };
/// let replayed = Event::from_store(kept)?;
/// assert_eq!(replayed.payload(), event.payload());
/// assert_ne!(replayed.key(), event.key()); // a replay is an event of its own
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The event as Stripe sent it, byte for byte.
    pub payload: Bytes,
    /// The name of the endpoint through which it came.
    pub endpoint: String,
    /// When Stripe signed it.
    pub signed_at: Option<SystemTime>,
    /// How often it was replayed before; 0 for what Stripe sent.
    pub generation: u32,
}

impl StoredEvent {
    /// What is to be kept of an event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            payload: event.payload().clone(),
            endpoint: event.endpoint().as_str().to_owned(),
            signed_at: event.signed_at(),
            generation: event.0.generation,
        }
    }
}

/// Shows none of the data: that is people's names and addresses.
impl fmt::Debug for StoredEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payload, endpoint, signed_at, generation } = self;
        f.debug_struct("StoredEvent")
            .field("bytes", &payload.len())
            .field("endpoint", endpoint)
            .field("signed_at", signed_at)
            .field("generation", generation)
            .finish()
    }
}

impl Event {
    /// An event that a store has kept.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] where what was kept is no event: the store has damaged it, or this version reads
    /// less than the one that stored it.
    pub fn from_store(kept: StoredEvent) -> Result<Self, EnvelopeError> {
        let StoredEvent { payload, endpoint, signed_at, generation } = kept;
        Self::of_payload(payload, EndpointName::new(&endpoint), signed_at, generation)
    }
}
