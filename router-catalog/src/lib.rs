//! Facts about Stripe's events: every event type and the object that it carries. Data, no I/O.
//!
//! The table is read from the type declarations of Stripe's official SDK; [`API_VERSION`] says
//! which. Stripe adds event types every month, so an event type that is not in here is unknown,
//! not wrong.
//!
//! ```
//! let known = router_catalog::lookup("charge.dispute.created").unwrap();
//! assert_eq!(known.object, Some("dispute"));
//! assert_eq!(router_catalog::nearest("payment_intent.succeded"), Some("payment_intent.succeeded"));
//! assert_eq!(router_catalog::event_type::charge::dispute::CREATED, "charge.dispute.created");
//! ```

mod constant;
#[rustfmt::skip]
pub mod event_type;
mod pattern;
#[cfg(feature = "samples")]
pub mod samples;
mod table;

pub use pattern::{Pattern, PatternError};
pub use table::API_VERSION;

/// One of Stripe's event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType {
    /// Its name, as in an event's `type`: `payment_intent.succeeded`.
    pub name: &'static str,
    /// The `object` value of what the event carries: `data.object.object` of a snapshot event,
    /// `related_object.type` of a thin one. Alternatives are joined by `|`. `None` for a thin
    /// event without a related object.
    pub object: Option<&'static str>,
    /// Whether Stripe sends it as a snapshot or as a thin event.
    pub kind: Kind,
}

/// The two shapes in which Stripe sends events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `"object": "event"`: the object is in the event, as it was when the event was made.
    Snapshot,
    /// `"object": "v2.core.event"`: the event only names its object.
    Thin,
}

impl EventType {
    /// Whether it can carry an object with this `object` value.
    #[must_use]
    pub const fn carries(&self, object: &str) -> bool {
        let Some(alternatives) = self.object else { return false };
        let (alternatives, object) = (alternatives.as_bytes(), object.as_bytes());
        let mut at = 0;
        loop {
            let (_, rest) = alternatives.split_at(at);
            let end = at + object.len();
            if constant::starts_with(rest, object)
                && (end == alternatives.len() || alternatives[end] == b'|')
            {
                return true;
            }
            while at < alternatives.len() && alternatives[at] != b'|' {
                at += 1;
            }
            if at == alternatives.len() {
                return false;
            }
            at += 1;
        }
    }

    /// Whether it carries an object with this `object` value and never another.
    #[must_use]
    pub const fn carries_only(&self, object: &str) -> bool {
        match self.object {
            Some(alternatives) => alternatives.len() == object.len() && self.carries(object),
            None => false,
        }
    }

    /// The `object` values that it can carry.
    pub fn objects(&self) -> impl Iterator<Item = &'static str> {
        self.object.into_iter().flat_map(|alternatives| alternatives.split('|'))
    }
}

/// All event types, sorted by name.
#[must_use]
pub const fn all() -> &'static [EventType] {
    table::EVENT_TYPES
}

/// The event type of this exact name.
#[must_use]
pub const fn lookup(name: &str) -> Option<&'static EventType> {
    match constant::position(name) {
        Some(at) => Some(&table::EVENT_TYPES[at]),
        None => None,
    }
}

/// The known event type that `name` was most likely meant to be, if one is close enough.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    nearest_of(name, all().iter().map(|known| known.name))
}

/// The candidate that `word` was most likely meant to be, by Damerau-Levenshtein distance; none
/// where more than a third of the word would have to change.
#[must_use]
pub fn nearest_of<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let length = word.chars().count();
    let most = length.div_ceil(3);
    candidates
        .into_iter()
        // One whose length differs by more is further away than that, and costs nothing.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= most)
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= most)
        .map(|(_, candidate)| candidate)
}
