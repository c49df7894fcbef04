//! A catalog of Stripe's event types and the objects that they carry.
//!
//! The catalog is generated from the type declarations of Stripe's official SDK, for the API
//! version [`API_VERSION`]. Stripe adds event types every month, so treat an event type that is
//! missing here as unknown, not as invalid. The crate does no I/O.
//!
//! ```
//! let known = router_catalog::lookup("charge.dispute.created").unwrap();
//! assert_eq!(known.object, Some("dispute"));
//! assert_eq!(router_catalog::nearest("payment_intent.succeded"), Some("payment_intent.succeeded"));
//! assert_eq!(router_catalog::event_type::charge::dispute::CREATED, "charge.dispute.created");
//! ```

mod const_search;
#[rustfmt::skip]
pub mod event_type;
mod name;
mod objects;
mod pattern;
#[cfg(feature = "samples")]
pub mod samples;
mod table;
mod twin;

pub use name::{MAX_NAME_BYTES, NameError, check_name};
pub use objects::object_path;
pub use pattern::{Pattern, PatternError};
pub use table::API_VERSION;
pub use twin::{snapshot_type, thin_type};

/// One of Stripe's event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType {
    /// The value of an event's `type` field, such as `payment_intent.succeeded`.
    pub name: &'static str,
    /// The `object` value of the event's object: `data.object.object` of a snapshot event,
    /// `related_object.type` of a thin event. Alternatives are separated by `|`. `None` for a thin
    /// event without a related object.
    pub object: Option<&'static str>,
    /// The format in which Stripe sends the event.
    pub kind: Kind,
}

/// The two formats in which Stripe sends events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `"object": "event"`: the event contains the object, as of the event's creation.
    Snapshot,
    /// `"object": "v2.core.event"`: the event contains only a reference to its object.
    Thin,
}

impl EventType {
    /// Returns whether events of this type can carry an object with this `object` value.
    #[must_use]
    pub const fn carries(&self, object: &str) -> bool {
        let Some(alternatives) = self.object else { return false };
        let (alternatives, object) = (alternatives.as_bytes(), object.as_bytes());
        let mut start = 0;
        loop {
            let (_, rest) = alternatives.split_at(start);
            let end = start + object.len();
            if const_search::starts_with(rest, object)
                && (end == alternatives.len() || alternatives[end] == b'|')
            {
                return true;
            }
            while start < alternatives.len() && alternatives[start] != b'|' {
                start += 1;
            }
            if start == alternatives.len() {
                return false;
            }
            start += 1;
        }
    }

    /// Returns whether events of this type carry only objects with this `object` value.
    #[must_use]
    pub const fn carries_only(&self, object: &str) -> bool {
        match self.object {
            Some(alternatives) => alternatives.len() == object.len() && self.carries(object),
            None => false,
        }
    }

    /// Returns the `object` values that events of this type can carry.
    pub fn objects(&self) -> impl Iterator<Item = &'static str> {
        self.object.into_iter().flat_map(|alternatives| alternatives.split('|'))
    }
}

/// Returns all known event types, sorted by name.
#[must_use]
pub const fn all() -> &'static [EventType] {
    table::EVENT_TYPES
}

/// Returns the event type with this exact name, if it is known.
#[must_use]
pub const fn lookup(name: &str) -> Option<&'static EventType> {
    match const_search::position(name) {
        Some(index) => Some(&table::EVENT_TYPES[index]),
        None => None,
    }
}

/// Returns the known event type that is most similar to `name`, if one is similar enough to be a
/// typo of it.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    nearest_of(name, all().iter().map(|known| known.name))
}

/// Returns the candidate with the smallest Damerau-Levenshtein distance to `word`, or `None` if the
/// distance is more than a third of the word's length.
#[must_use]
pub fn nearest_of<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let length = word.chars().count();
    let max_distance = length.div_ceil(3);
    candidates
        .into_iter()
        // The difference in length is a lower bound of the distance, and is cheaper to compute.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= max_distance)
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= max_distance)
        .map(|(_, candidate)| candidate)
}
