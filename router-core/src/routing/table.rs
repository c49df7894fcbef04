//! The routing table: maps an event type to its handlers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use router_catalog::Pattern;

use crate::sharded::Hasher;

/// A map from patterns to handlers.
///
/// A handler is identified by its index in the order in which handlers run. The list of a pattern
/// also contains the handlers of all wider patterns, so the list of the narrowest matching pattern
/// is complete. A lookup takes one map access, plus at most one for each dot in the event type. It
/// does not depend on the number of handlers and does not allocate.
#[derive(Debug, Default)]
pub(crate) struct Table {
    exact: HashMap<Box<str>, Box<[usize]>, Hasher>,
    /// By the prefix without its `.*`.
    prefix: HashMap<Box<str>, Box<[usize]>, Hasher>,
    all: Box<[usize]>,
}

impl Table {
    /// Creates a table from pairs of a pattern and the index of its handler.
    pub(crate) fn new<'p>(routes: impl IntoIterator<Item = (Pattern<'p>, usize)>) -> Self {
        let mut exact = BTreeMap::<&str, BTreeSet<usize>>::new();
        let mut prefix = BTreeMap::<&str, BTreeSet<usize>>::new();
        let mut all = BTreeSet::new();
        for (pattern, handler) in routes {
            let indices = match pattern {
                Pattern::Exact(name) => exact.entry(name).or_default(),
                Pattern::Prefix(name) => prefix.entry(name).or_default(),
                Pattern::All => &mut all,
            };
            indices.insert(handler);
        }
        let with_wider = |name: &str, own: &BTreeSet<usize>| {
            let wider = parents(name).filter_map(|parent| prefix.get(parent)).flatten();
            own.iter().chain(wider).chain(&all).copied().collect::<BTreeSet<usize>>()
        };
        let lists = |own: &BTreeMap<&str, BTreeSet<usize>>| {
            own.iter()
                .map(|(name, own)| ((*name).into(), with_wider(name, own).into_iter().collect()))
                .collect()
        };
        Self { exact: lists(&exact), prefix: lists(&prefix), all: all.iter().copied().collect() }
    }

    /// Returns the indices of the handlers for this event type, in the order in which they run.
    pub(crate) fn handlers_of(&self, event_type: &str) -> &[usize] {
        self.exact
            .get(event_type)
            .or_else(|| parents(event_type).find_map(|parent| self.prefix.get(parent)))
            .unwrap_or(&self.all)
    }
}

/// Returns the prefixes of an event type, longest first: `a.b` and `a` for `a.b.c`.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices('.').map(|(dot, _)| &name[..dot])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn handler_with_overlapping_patterns_is_found_once() {
        let patterns = ["invoice.paid", "invoice.*", "*"].map(|p| (Pattern::parse(p).unwrap(), 0));
        assert_eq!(Table::new(patterns).handlers_of("invoice.paid"), [0]);
    }

    fn pattern() -> impl Strategy<Value = String> {
        "([ab](\\.[ab]){0,3}(\\.\\*)?|\\*)"
    }

    proptest! {
        #[test]
        fn lookup_agrees_with_matching_each_pattern(
            patterns in proptest::collection::vec(pattern(), 0..8),
            event_type in "[ab](\\.[ab]){0,3}",
        ) {
            let patterns: Vec<Pattern<'_>> =
                patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
            let table = Table::new(patterns.iter().copied().zip(0..));
            let expected: Vec<usize> =
                (0..patterns.len()).filter(|index| patterns[*index].matches(&event_type)).collect();
            prop_assert_eq!(table.handlers_of(&event_type), expected);
        }
    }
}
