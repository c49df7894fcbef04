//! Which event types a pattern means. The one place for this rule: `#[on_event]` checks patterns
//! with it when it compiles, the router when it is built.

use std::fmt;

use crate::{EventType, constant, table::EVENT_TYPES};

/// What a handler is registered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern<'p> {
    /// `invoice.paid`: this event type.
    Exact(&'p str),
    /// `customer.*`: every event type that begins with `customer.`, at any depth. Holds what stands
    /// before the `.*`.
    Prefix(&'p str),
    /// `*`: every event type.
    All,
}

impl<'p> Pattern<'p> {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`PatternError`] where the text is neither an event type's name nor a wildcard.
    pub fn parse(text: &'p str) -> Result<Self, PatternError> {
        let pattern = Self::form(text);
        let name = match pattern {
            Self::All => return Ok(pattern),
            Self::Prefix(name) | Self::Exact(name) => name,
        };
        if name.is_empty() {
            return Err(PatternError::Empty);
        }
        if name.contains('*') {
            return Err(PatternError::Wildcard);
        }
        if let Some(stray) =
            name.chars().find(|c| !c.is_ascii_alphanumeric() && !"._[]-".contains(*c))
        {
            return Err(PatternError::Character(stray));
        }
        if name.split('.').any(str::is_empty) {
            return Err(PatternError::Dots);
        }
        Ok(pattern)
    }

    /// Which of the three forms a text has, without a look at what stands in its name.
    #[doc(hidden)]
    #[must_use]
    pub const fn form(text: &'p str) -> Self {
        match text.as_bytes() {
            b"*" => Self::All,
            [.., b'.', b'*'] => Self::Prefix(text.split_at(text.len() - 2).0),
            _ => Self::Exact(text),
        }
    }

    /// Whether this pattern means this event type.
    #[must_use]
    pub const fn matches(self, event_type: &str) -> bool {
        let event_type = event_type.as_bytes();
        match self {
            Self::Exact(name) => {
                event_type.len() == name.len() && constant::starts_with(event_type, name.as_bytes())
            }
            Self::Prefix(prefix) => {
                event_type.len() > prefix.len()
                    && event_type[prefix.len()] == b'.'
                    && constant::starts_with(event_type, prefix.as_bytes())
            }
            Self::All => true,
        }
    }

    /// Whether there can be an event type that both patterns mean.
    #[must_use]
    pub fn overlaps(self, other: Pattern<'_>) -> bool {
        match (self, other) {
            (Self::All, _) | (_, Pattern::All) => true,
            (Self::Exact(ours), theirs) => theirs.matches(ours),
            (ours, Pattern::Exact(theirs)) => ours.matches(theirs),
            (Self::Prefix(ours), Pattern::Prefix(theirs)) => {
                ours == theirs || self.matches(theirs) || other.matches(ours)
            }
        }
    }

    /// The event types that Stripe is known to send and that this pattern means, sorted by name.
    #[must_use]
    pub const fn known(self) -> &'static [EventType] {
        let (start, end) = match self {
            Self::Exact(name) => match constant::position(name) {
                Some(at) => (at, at + 1),
                None => (0, 0),
            },
            Self::Prefix(_) | Self::All => constant::range(self),
        };
        EVENT_TYPES.split_at(end).0.split_at(start).1
    }
}

impl fmt::Display for Pattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}.*"),
            Self::All => f.write_str("*"),
        }
    }
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// There is no name in it.
    Empty,
    /// A `*` that is not the last part.
    Wildcard,
    /// A character that no event type holds.
    Character(char),
    /// Two dots in a row, or one at the end.
    Dots,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an event type cannot be empty; `*` matches every event type"),
            Self::Wildcard => f.write_str(
                "`*` can only be the last part: `customer.*`, `customer.subscription.*`, or `*` alone",
            ),
            Self::Character(stray) => write!(f, "invalid character {stray:?}; an event type looks like `invoice.paid`"),
            Self::Dots => f.write_str("empty part beside a dot; an event type looks like `invoice.paid`"),
        }
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        assert_eq!(Pattern::parse("invoice.paid"), Ok(Pattern::Exact("invoice.paid")));
        assert_eq!(Pattern::parse("customer.*"), Ok(Pattern::Prefix("customer")));
        assert_eq!(Pattern::parse("*"), Ok(Pattern::All));
    }

    #[test]
    fn everything_else_is_refused() {
        for (text, error) in [
            ("", PatternError::Empty),
            (".*", PatternError::Empty),
            ("customer*", PatternError::Wildcard),
            ("*.paid", PatternError::Wildcard),
            ("customer.*.deleted", PatternError::Wildcard),
            ("**", PatternError::Wildcard),
            ("invoice paid", PatternError::Character(' ')),
            ("invoice.paid\n", PatternError::Character('\n')),
            ("invoice..paid", PatternError::Dots),
            ("invoice.", PatternError::Dots),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_prefix_means_whole_parts_at_any_depth() {
        let customer = Pattern::Prefix("customer");
        assert!(customer.matches("customer.created"));
        assert!(customer.matches("customer.subscription.deleted"));
        assert!(!customer.matches("customer"));
        assert!(!customer.matches("customers.created"));
    }

    #[test]
    fn every_known_event_type_is_a_pattern_that_means_itself() {
        for known in crate::all() {
            let pattern = Pattern::parse(known.name).unwrap();
            assert!(pattern.matches(known.name) && pattern.known() == [*known], "{}", known.name);
        }
    }
}
