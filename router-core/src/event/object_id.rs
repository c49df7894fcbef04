//! Which object an event is about.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::Deserialize;

use super::Event;

/// Which object an event is about: events with equal ones are about the same object, or, where the
/// object has no id (the balance, an upcoming invoice), about one of the same name in the same
/// account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectId {
    account: Option<Arc<str>>,
    /// `pi_…`, or the name of the object where it has no id, or that of the event type where it has
    /// no name either: in this order, and never nothing, so that what cannot be told apart is taken
    /// for the same.
    text: Arc<str>,
}

#[derive(Deserialize)]
struct Head<'o> {
    #[serde(borrow)]
    id: Option<Cow<'o, str>>,
    #[serde(borrow)]
    object: Option<Cow<'o, str>>,
}

impl ObjectId {
    pub(super) fn of(event: &Event) -> Self {
        let related = event.related_object();
        let text: Arc<str> = match &related {
            Some(related) => related.id().or(related.object_type()).map(Into::into),
            None => event.decode_object().ok().and_then(|Head { id, object }| {
                id.filter(|id| !id.is_empty()).or(object).map(|text| (*text).into())
            }),
        }
        .unwrap_or_else(|| event.event_type().into());
        Self { account: event.account().map(Into::into), text }
    }

    /// The object's id; its name, where it has none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The connected account whose object it is, `acct_…`.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.account {
            Some(account) => write!(f, "{account}/{}", self.text),
            None => f.write_str(&self.text),
        }
    }
}
