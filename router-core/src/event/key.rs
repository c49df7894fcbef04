//! What makes two deliveries one event.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::Event;
use crate::signature::EndpointName;

/// Which event it is: deliveries with equal keys are one event, and its handlers finish it once.
///
/// The id alone is not enough: a platform's own endpoint and its Connect endpoint both get some
/// events, and each has its own handlers to run. Which of an endpoint's secrets matched is no part
/// of it, or a secret that is being rolled would pay twice.
///
/// `Display` is `endpoint/account/id`, without the account where the event names none, and with
/// `#generation` where it was replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventKey {
    endpoint: EndpointName,
    account: Option<Arc<str>>,
    id: Arc<str>,
    generation: u32,
}

impl EventKey {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            endpoint: event.endpoint().clone(),
            account: event.account().map(Into::into),
            id: event.id().into(),
            generation: 0,
        }
    }

    /// The endpoint through which it came.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointName {
        &self.endpoint
    }

    /// The connected account that it is about, `acct_…`.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The event's id, `evt_…`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
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
        self.id.hash(state);
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.endpoint)?;
        if let Some(account) = &self.account {
            write!(f, "{account}/")?;
        }
        f.write_str(&self.id)?;
        if self.generation > 0 { write!(f, "#{}", self.generation) } else { Ok(()) }
    }
}
