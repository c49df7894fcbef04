//! Related objects of thin events.

use std::fmt;

use super::{Event, envelope::Related};

/// A reference to the object that a thin event is about. The object itself is not in the event;
/// fetch it from Stripe's API.
#[derive(Clone)]
pub struct RelatedObject(Event);

impl RelatedObject {
    pub(super) fn try_new(event: &Event) -> Option<Self> {
        event.envelope().related_object.as_ref().map(|_| Self(event.clone()))
    }

    /// Returns the object's id. A singleton, such as the balance, has none.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.related().and_then(|related| self.0.optional(&related.id))
    }

    /// Returns the object's type, which is the value of its `object` field.
    #[must_use]
    pub fn object_type(&self) -> Option<&str> {
        self.related().and_then(|related| self.0.optional(&related.object_type))
    }

    /// Returns the path of the object in Stripe's API.
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
