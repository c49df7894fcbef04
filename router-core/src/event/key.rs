//! The key that identifies an event across deliveries.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use router_catalog::snapshot_type;

use super::Event;

/// The identity of an event. Deliveries with equal keys are duplicates of one event, which a
/// handler that is done does not run again.
///
/// The key consists of endpoint, account, id, type and generation:
///
/// - The id alone is not enough: a platform's own endpoint and its Connect endpoint both receive
///   some events, and each endpoint has its own handlers. The signing secret that matched is not
///   part of the key; otherwise an event that is redelivered while a secret is rolled would be
///   handled twice.
/// - An event of another type is another event, although Stripe never reuses an id. Test tools do.
/// - A thin event that names its [snapshot event](Event::snapshot_event) has the key of that event.
/// - Events with Stripe's [test id](Event::has_test_id) all have different keys.
///
/// `Display` is `endpoint/account/id/type`, without the account if the event names none, and
/// followed by `/serial` for an event with Stripe's test id, and by `#generation` if the event was
/// replayed.
#[derive(Clone, PartialEq, Eq)]
pub struct EventKey {
    /// Endpoint, account, id and type, concatenated. The key has an allocation of its own rather
    /// than a clone of the endpoint's name, so that concurrent events do not contend for a shared
    /// reference count.
    text: Arc<str>,
    /// The length of the endpoint's name in bytes.
    endpoint_len: usize,
    /// The length of the account's id in bytes, if the event names an account.
    account_len: Option<usize>,
    /// The length of the event type in bytes.
    type_len: usize,
    generation: u32,
    serial: Option<u64>,
}

impl Event {
    /// Returns the key that identifies the event across deliveries.
    #[must_use]
    pub fn key(&self) -> EventKey {
        EventKey::from_event(self)
    }
}

impl EventKey {
    pub(super) fn from_event(event: &Event) -> Self {
        let (endpoint, account) = (event.endpoint().as_str(), event.owner_account());
        let (id, event_type) = match event.snapshot_event() {
            None => (event.id(), event.event_type()),
            Some(snapshot_event) => {
                let event_type = event.event_type();
                (snapshot_event, snapshot_type(event_type).unwrap_or(event_type))
            }
        };
        Self {
            text: [endpoint, account.unwrap_or_default(), id, event_type].concat().into(),
            endpoint_len: endpoint.len(),
            account_len: account.map(str::len),
            type_len: event_type.len(),
            generation: event.0.generation,
            serial: event.0.serial,
        }
    }

    /// Returns the name of the endpoint that received the event.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.text[..self.endpoint_len]
    }

    /// Returns the id of the connected account that the event is about, `acct_…`.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account_len.map(|length| &self.text[self.endpoint_len..][..length])
    }

    /// Returns the event's id, `evt_…`. For a thin event that names its
    /// [snapshot event](Event::snapshot_event), it is the id of the snapshot event.
    #[must_use]
    pub fn id(&self) -> &str {
        let start = self.endpoint_len + self.account_len.unwrap_or(0);
        &self.text[start..self.text.len() - self.type_len]
    }

    /// Returns the event type. For a thin event that names its
    /// [snapshot event](Event::snapshot_event), it is the type of the snapshot event.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.text[self.text.len() - self.type_len..]
    }

    /// Returns whether both are keys of the same event, in the same generation or in two.
    #[must_use]
    pub fn is_same_event(&self, other: &Self) -> bool {
        let Self { text, endpoint_len, account_len, type_len, generation: _, serial } = self;
        (text, endpoint_len, account_len, type_len, serial)
            == (
                &other.text,
                &other.endpoint_len,
                &other.account_len,
                &other.type_len,
                &other.serial,
            )
    }

    /// Returns a number that tells events with Stripe's test id apart, and `None` for others.
    #[must_use]
    pub fn serial(&self) -> Option<u64> {
        self.serial
    }

    /// Returns the number of times the event was replayed; 0 for an event as Stripe sent it.
    ///
    /// The generation is part of the key, so that a replay is not deduplicated against the
    /// original.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }
}

/// Hashes only the id, which rarely collides. A key is hashed about five times for each event.
impl Hash for EventKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.endpoint())?;
        if let Some(account) = self.account() {
            write!(f, "{account}/")?;
        }
        write!(f, "{}/{}", self.id(), self.event_type())?;
        if let Some(serial) = self.serial {
            write!(f, "/{serial}")?;
        }
        if self.generation > 0 { write!(f, "#{}", self.generation) } else { Ok(()) }
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventKey({self})")
    }
}
