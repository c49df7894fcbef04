//! The key that identifies an event across deliveries.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::Event;

/// The identity of an event. Deliveries with equal keys are duplicates of one event, and each
/// handler finishes it once.
///
/// The id alone is not enough: a platform's own endpoint and its Connect endpoint both receive some
/// events, and each endpoint has its own handlers. The signing secret that matched is not part of
/// the key; otherwise an event that is redelivered while a secret is rolled would be handled twice.
///
/// `Display` is `endpoint/account/id`, without the account if the event names none, and followed by
/// `#generation` if the event was replayed.
#[derive(Clone, PartialEq, Eq)]
pub struct EventKey {
    /// Endpoint, account and id, concatenated. The key has an allocation of its own rather than a
    /// clone of the endpoint's name, so that concurrent events do not contend for a shared
    /// reference count.
    text: Arc<str>,
    /// The length of the endpoint's name in bytes.
    endpoint_len: usize,
    /// The length of the account's id in bytes, if the event names an account.
    account_len: Option<usize>,
    generation: u32,
}

impl EventKey {
    pub(super) fn from_event(event: &Event) -> Self {
        let (endpoint, account) = (event.endpoint().as_str(), event.account());
        Self {
            text: [endpoint, account.unwrap_or_default(), event.id()].concat().into(),
            endpoint_len: endpoint.len(),
            account_len: account.map(str::len),
            generation: event.0.generation,
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

    /// Returns the event's id, `evt_…`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text[self.endpoint_len + self.account_len.unwrap_or(0)..]
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
        f.write_str(self.id())?;
        if self.generation > 0 { write!(f, "#{}", self.generation) } else { Ok(()) }
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventKey({self})")
    }
}
