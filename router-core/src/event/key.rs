//! What makes two deliveries one event.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::Event;

/// Which event it is: deliveries with equal keys are one event, and its handlers finish it once.
///
/// The id alone is not enough: a platform's own endpoint and its Connect endpoint both get some
/// events, and each has its own handlers to run. Which of an endpoint's secrets matched is no part
/// of it, or a secret that is being rolled would pay twice.
///
/// `Display` is `endpoint/account/id`, without the account where the event names none, and with
/// `#generation` where it was replayed.
#[derive(Clone, PartialEq, Eq)]
pub struct EventKey {
    /// Endpoint, account and id, one behind the other: one allocation that nothing else shares, so that
    /// events which run at once do not wait for each other to count who has what.
    text: Arc<str>,
    /// How long they are.
    endpoint: usize,
    account: Option<usize>,
    generation: u32,
}

impl EventKey {
    pub(super) fn of(event: &Event) -> Self {
        let (endpoint, account) = (event.endpoint().as_str(), event.account());
        Self {
            text: [endpoint, account.unwrap_or_default(), event.id()].concat().into(),
            endpoint: endpoint.len(),
            account: account.map(str::len),
            generation: event.0.generation,
        }
    }

    /// The name of the endpoint through which it came.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.text[..self.endpoint]
    }

    /// The connected account that it is about, `acct_…`.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account.map(|length| &self.text[self.endpoint..][..length])
    }

    /// The event's id, `evt_…`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text[self.endpoint + self.account.unwrap_or(0)..]
    }

    /// How often somebody has had it replayed: a replay is a new event, or the memory of the first
    /// would swallow it. What Stripe sends is 0.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }
}

/// By the id alone, which hardly two keys share: a key is hashed some five times for each event.
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
