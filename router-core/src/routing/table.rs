//! Which handlers an event type has: looked up, never searched.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use router_catalog::Pattern;

use crate::sharded::Hasher;

/// Finds an event type's handlers in one look-up, or one for each dot in its name; how many other
/// handlers there are makes no difference, and nothing is allocated.
///
/// Handlers are numbered in the order in which they run. Each list holds every handler for its key,
/// those of the wider patterns included, so that the narrowest list that is there is the answer.
#[derive(Debug, Default)]
pub(crate) struct Table {
    exact: HashMap<Box<str>, Box<[usize]>, Hasher>,
    /// By what stands before the `.*`.
    prefix: HashMap<Box<str>, Box<[usize]>, Hasher>,
    all: Box<[usize]>,
}

impl Table {
    /// `routes` pairs each pattern with the number of its handler.
    pub(crate) fn new<'p>(routes: impl IntoIterator<Item = (Pattern<'p>, usize)>) -> Self {
        let mut exact = BTreeMap::<&str, BTreeSet<usize>>::new();
        let mut prefix = BTreeMap::<&str, BTreeSet<usize>>::new();
        let mut all = BTreeSet::new();
        for (pattern, handler) in routes {
            let numbers = match pattern {
                Pattern::Exact(name) => exact.entry(name).or_default(),
                Pattern::Prefix(name) => prefix.entry(name).or_default(),
                Pattern::All => &mut all,
            };
            numbers.insert(handler);
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

    /// The numbers of the handlers that handle this event type, in the order in which they run.
    pub(crate) fn handlers_of(&self, event_type: &str) -> &[usize] {
        self.exact
            .get(event_type)
            .or_else(|| parents(event_type).find_map(|parent| self.prefix.get(parent)))
            .unwrap_or(&self.all)
    }
}

/// `a.b.c` has the parents `a.b` and `a`, in this order.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices('.').map(|(dot, _)| &name[..dot])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_handler_whose_patterns_overlap_is_found_once() {
        let patterns = ["invoice.paid", "invoice.*", "*"].map(|p| (Pattern::parse(p).unwrap(), 0));
        assert_eq!(Table::new(patterns).handlers_of("invoice.paid"), [0]);
    }

    fn pattern() -> impl Strategy<Value = String> {
        "([ab](\\.[ab]){0,3}(\\.\\*)?|\\*)"
    }

    proptest! {
        #[test]
        fn the_table_finds_what_asking_each_pattern_finds(
            patterns in proptest::collection::vec(pattern(), 0..8),
            event_type in "[ab](\\.[ab]){0,3}",
        ) {
            let patterns: Vec<Pattern<'_>> =
                patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
            let table = Table::new(patterns.iter().copied().zip(0..));
            let expected: Vec<usize> =
                (0..patterns.len()).filter(|at| patterns[*at].matches(&event_type)).collect();
            prop_assert_eq!(table.handlers_of(&event_type), expected);
        }
    }
}
