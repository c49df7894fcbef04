//! The id of the object that an event is about.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::Deserialize;

use super::Event;

/// The identity of the object that an event is about.
///
/// Events with equal `ObjectId`s are about the same object. If the object has no id (the balance,
/// an upcoming invoice), they are about an object of the same name in the same account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectId {
    account: Option<Arc<str>>,
    /// The object's id (`pi_…`), else the object's name, else the event type. It is never empty, so
    /// objects that cannot be distinguished count as the same object.
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
    pub(super) fn from_event(event: &Event) -> Self {
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

    /// Returns the object's id, or its name if it has no id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the id of the connected account that owns the object, `acct_…`.
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
