//! The object that a thin event is about.

use std::fmt;

use super::{Event, envelope::Related};

/// The object that a thin event is about: which it is and where to fetch it. It is not in the event.
#[derive(Clone)]
pub struct RelatedObject(Event);

impl RelatedObject {
    pub(super) fn of(event: &Event) -> Option<Self> {
        event.envelope().related_object.as_ref().map(|_| Self(event.clone()))
    }

    /// Its id; a singleton, such as the balance, has none.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.related().and_then(|related| self.0.optional(&related.id))
    }

    /// The `object` value that it has.
    #[must_use]
    pub fn object_type(&self) -> Option<&str> {
        self.related().and_then(|related| self.0.optional(&related.object_type))
    }

    /// The path under which Stripe's API gives it.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.related().and_then(|related| self.0.optional(&related.url))
    }

    fn related(&self) -> Option<&Related> {
        self.0.envelope().related_object.as_ref()
    }
}

impl fmt::Debug for RelatedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelatedObject")
            .field("id", &self.id())
            .field("type", &self.object_type())
            .field("url", &self.url())
            .finish()
    }
}
