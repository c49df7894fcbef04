//! Which event types a pattern means. The one place for this rule: `#[on_event]` checks patterns
//! with it when it compiles, the router when it is built.

use std::fmt;

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
        if text == "*" {
            return Ok(Self::All);
        }
        let (name, pattern) = match text.strip_suffix(".*") {
            Some(prefix) => (prefix, Self::Prefix(prefix)),
            None => (text, Self::Exact(text)),
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

    /// Whether this pattern means this event type.
    #[must_use]
    pub fn matches(self, event_type: &str) -> bool {
        match self {
            Self::Exact(name) => name == event_type,
            Self::Prefix(prefix) => {
                event_type.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))
            }
            Self::All => true,
        }
    }

    /// Whether Stripe is known to send an event type that this pattern means.
    #[must_use]
    pub fn is_known(self) -> bool {
        match self {
            Self::Exact(name) => crate::lookup(name).is_some(),
            Self::Prefix(_) | Self::All => {
                crate::all().iter().any(|known| self.matches(known.name))
            }
        }
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
            Self::Empty => f.write_str("an event type cannot be empty; `*` means every event type"),
            Self::Wildcard => f.write_str(
                "`*` stands for whole parts at the end only: `customer.*`, `customer.subscription.*`, or `*` alone",
            ),
            Self::Character(stray) => write!(f, "no event type holds {stray:?}; write one as in `invoice.paid`"),
            Self::Dots => f.write_str("an event type is parts with a dot between them, as in `invoice.paid`"),
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
            assert!(pattern.matches(known.name) && pattern.is_known(), "{}", known.name);
        }
    }
}
