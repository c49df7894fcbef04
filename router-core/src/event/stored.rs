//! Events that are read back from a store.

use std::{fmt, time::SystemTime};

use bytes::Bytes;

use super::{EnvelopeError, Event, Receipt};
use crate::signature::EndpointName;

/// An event as a store has persisted it, with the caller's assertion that it was verified before it
/// was stored. Nothing is verified here, so use it only for events that this program has stored
/// where no one else can write.
///
/// ```
/// use router_core::{Event, event::StoredEvent, testing::SyntheticEvent};
///
/// let event = SyntheticEvent::new("invoice.paid").build()?.event().clone();
/// let stored = StoredEvent { generation: 1, ..StoredEvent::from_event(&event) };
/// let replayed = Event::from_store(stored)?;
/// assert_eq!(replayed.payload(), event.payload());
/// assert_ne!(replayed.key(), event.key()); // a replay has a key of its own
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The payload as Stripe sent it, byte for byte.
    pub payload: Bytes,
    /// The name of the endpoint that received the event.
    pub endpoint: String,
    /// The time at which Stripe signed the event.
    pub signed_at: Option<SystemTime>,
    /// The number of times the event was replayed before; 0 for an event as Stripe sent it.
    pub generation: u32,
    /// A random number for an event with Stripe's test id, which is the same for many events. It
    /// tells them apart. `None` for any other event.
    pub serial: Option<u64>,
}

impl StoredEvent {
    /// Returns the parts of an event that a store must persist.
    #[must_use]
    pub fn from_event(event: &Event) -> Self {
        Self {
            payload: event.payload().clone(),
            endpoint: event.endpoint().as_str().to_owned(),
            signed_at: event.signed_at(),
            generation: event.0.generation,
            serial: event.0.serial,
        }
    }
}

/// Omits the payload, which contains personal data.
impl fmt::Debug for StoredEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payload, endpoint, signed_at, generation, serial } = self;
        f.debug_struct("StoredEvent")
            .field("bytes", &payload.len())
            .field("endpoint", endpoint)
            .field("signed_at", signed_at)
            .field("generation", generation)
            .field("serial", serial)
            .finish()
    }
}

impl Event {
    /// Restores an event from a store.
    ///
    /// # Errors
    ///
    /// Fails if the stored payload is not an event: either the store has damaged it, or this
    /// version of the crate accepts less than the version that stored it.
    pub fn from_store(stored: StoredEvent) -> Result<Self, EnvelopeError> {
        let StoredEvent { payload, endpoint, signed_at, generation, serial } = stored;
        let endpoint = EndpointName::new(&endpoint);
        Self::from_payload(
            payload,
            Receipt { endpoints: endpoint.into(), signed_at, generation, serial },
        )
    }
}
