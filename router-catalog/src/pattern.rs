//! Event patterns. `#[on_event]` at compile time and the router at build time share this
//! implementation.

use std::fmt;

use crate::{EventType, const_search, table::EVENT_TYPES};

/// An event type or a wildcard that matches several event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern<'p> {
    /// `invoice.paid`: the event type of this name.
    Exact(&'p str),
    /// `customer.*`: every event type that begins with `customer.`, at any depth. The value is the
    /// part before `.*`.
    Prefix(&'p str),
    /// `*`: every event type.
    All,
}

impl<'p> Pattern<'p> {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// Fails if the text is neither a well-formed event type nor a wildcard.
    pub fn parse(text: &'p str) -> Result<Self, PatternError> {
        let pattern = Self::parse_unchecked(text);
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
        if let Some(invalid) =
            name.chars().find(|c| !c.is_ascii_alphanumeric() && !"._[]-".contains(*c))
        {
            return Err(PatternError::Character(invalid));
        }
        if name.split('.').any(str::is_empty) {
            return Err(PatternError::Dots);
        }
        Ok(pattern)
    }

    /// Parses a pattern without checking its characters, in const contexts.
    #[doc(hidden)]
    #[must_use]
    pub const fn parse_unchecked(text: &'p str) -> Self {
        match text.as_bytes() {
            b"*" => Self::All,
            [.., b'.', b'*'] => Self::Prefix(text.split_at(text.len() - 2).0),
            _ => Self::Exact(text),
        }
    }

    /// Returns whether the pattern matches an event type.
    #[must_use]
    pub const fn matches(self, event_type: &str) -> bool {
        let event_type = event_type.as_bytes();
        match self {
            Self::Exact(name) => const_search::equals(event_type, name.as_bytes()),
            Self::Prefix(prefix) => {
                event_type.len() > prefix.len()
                    && event_type[prefix.len()] == b'.'
                    && const_search::starts_with(event_type, prefix.as_bytes())
            }
            Self::All => true,
        }
    }

    /// Returns whether an event type could match both patterns.
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

    /// Returns the known event types that match the pattern, sorted by name.
    #[must_use]
    pub const fn known(self) -> &'static [EventType] {
        let mut start = 0;
        if let Self::Exact(name) = self {
            start = match const_search::position(name) {
                Some(index) => index,
                None => return &[],
            };
        }
        // Matches are adjacent, because the table is sorted.
        while start < EVENT_TYPES.len() && !self.matches(EVENT_TYPES[start].name) {
            start += 1;
        }
        let mut end = start;
        while end < EVENT_TYPES.len() && self.matches(EVENT_TYPES[end].name) {
            end += 1;
        }
        EVENT_TYPES.split_at(end).0.split_at(start).1
    }

    /// Returns the known event types about a part of the object in the wildcard's name, which the
    /// wildcard does not match: `v2.core.account[identity].updated` for `v2.core.account.*`.
    pub fn unmatched_parts(self) -> impl Iterator<Item = &'static EventType> {
        let is_part = move |name: &str| match self {
            Self::Prefix(prefix) => {
                name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('['))
            }
            Self::Exact(_) | Self::All => false,
        };
        EVENT_TYPES.iter().filter(move |event_type| is_part(event_type.name))
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

/// An error that [`Pattern::parse`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// The name is empty.
    Empty,
    /// A `*` is not the whole last part.
    Wildcard,
    /// A character is not allowed in event types.
    Character(char),
    /// A part is empty: two dots in a row, or a dot at the start or end.
    Dots,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("an event type cannot be empty; `*` matches every event type")
            }
            Self::Wildcard => f.write_str(
                "`*` can only be the last part: `customer.*`, `customer.subscription.*`, or `*` \
                 alone",
            ),
            Self::Character(invalid) => {
                write!(f, "invalid character {invalid:?}; an event type looks like `invoice.paid`")
            }
            Self::Dots => f.write_str(
                "empty part before or after a dot; an event type looks like `invoice.paid`",
            ),
        }
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_patterns_parse() {
        assert_eq!(Pattern::parse("invoice.paid"), Ok(Pattern::Exact("invoice.paid")));
        assert_eq!(Pattern::parse("customer.*"), Ok(Pattern::Prefix("customer")));
        assert_eq!(Pattern::parse("*"), Ok(Pattern::All));
    }

    #[test]
    fn invalid_patterns_are_rejected() {
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
    fn prefix_matches_whole_parts_at_any_depth() {
        let customer = Pattern::Prefix("customer");
        assert!(customer.matches("customer.created"));
        assert!(customer.matches("customer.subscription.deleted"));
        assert!(!customer.matches("customer"));
        assert!(!customer.matches("customers.created"));
    }

    #[test]
    fn wildcard_does_not_match_parts_of_object() {
        let account = Pattern::Prefix("v2.core.account");
        let parts: Vec<_> = account.unmatched_parts().map(|part| part.name).collect();
        assert!(parts.contains(&"v2.core.account[identity].updated"), "{parts:?}");
        assert!(parts.iter().all(|part| part.starts_with("v2.core.account[")), "{parts:?}");
        assert!(!parts.iter().any(|part| account.matches(part)), "{parts:?}");
        for other in [Pattern::Prefix("v2.core"), Pattern::Prefix("invoice"), Pattern::All] {
            assert_eq!(other.unmatched_parts().count(), 0, "{other}");
        }
    }

    #[test]
    fn known_event_type_matches_only_itself() {
        for known in crate::all() {
            let pattern = Pattern::parse(known.name).unwrap();
            assert!(pattern.matches(known.name) && pattern.known() == [*known], "{}", known.name);
        }
    }
}
