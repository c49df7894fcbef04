//! The handlers of a router, with the table that maps an event type to its handlers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, iter,
    sync::Arc,
    time::Duration,
};

use router_catalog::Pattern;

use super::{
    keyed_lock::KeyedLock,
    unmatched::{LoggedExclusions, UnhandledEvents},
};
use crate::{
    build::{Routes, StartupReport},
    clock::Clock,
    event::{Event, ObjectId},
    extract::States,
    handler::{Callable, HandlerSettings},
    sharded::Hasher,
    telemetry::{self, HandlerMetrics},
};

/// A validated handler.
#[derive(Debug)]
pub(crate) struct RegisteredHandler {
    /// The stable name.
    pub(crate) name: Arc<str>,
    /// `true` if one of its patterns is `*`.
    pub(crate) catch_all: bool,
    pub(crate) logged_exclusions: LoggedExclusions,
    /// The maximum duration of a call, including the wait for the object lock.
    pub(crate) timeout: Duration,
    /// `true` if the handler returns a reply for Stripe.
    pub(crate) replies: bool,
    pub(crate) settings: HandlerSettings,
    /// `true` if it takes a [`PerDelivery`](crate::extract::PerDelivery), or an argument built on
    /// it.
    pub(crate) takes_per_delivery: bool,
    pub(crate) callable: Callable,
    pub(crate) metrics: HandlerMetrics,
}

/// The validated handlers, shared by both kinds of router.
///
/// A router with a delivery service has two such lists, one of the handlers that reply.
pub(crate) struct Handlers {
    table: Table,
    /// Sorted in the order in which they run. The table refers to them by index.
    pub(crate) list: Vec<RegisteredHandler>,
    pub(super) states: Arc<States>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The locks of `exclusive` handlers, by object. Shared by all such handlers, so two
    /// of them do not run for the same object at the same time.
    pub(super) object_locks: KeyedLock<ObjectId>,
    unhandled: UnhandledEvents,
    /// `true` if a handler has a filter.
    has_filters: bool,
    pub(crate) routes: Routes,
    pub(crate) report: StartupReport,
}

impl Handlers {
    pub(crate) fn new(
        table: Table,
        list: Vec<RegisteredHandler>,
        states: States,
        clock: Arc<dyn Clock>,
        livemode: Option<bool>,
        routes: Routes,
        report: StartupReport,
    ) -> Self {
        let has_filters = init(&list);
        let states = Arc::new(states);
        let (object_locks, unhandled) = (KeyedLock::new(), UnhandledEvents::new(livemode));
        Self { table, list, states, clock, object_locks, unhandled, has_filters, routes, report }
    }

    /// Creates the second list of handlers of a router, which shares the states, the clock and the
    /// object locks.
    pub(crate) fn with_list(&self, table: Table, list: Vec<RegisteredHandler>) -> Self {
        Self {
            has_filters: init(&list),
            table,
            list,
            states: self.states.clone(),
            clock: self.clock.clone(),
            object_locks: self.object_locks.clone(),
            unhandled: UnhandledEvents::new(self.unhandled.livemode()),
            routes: self.routes.clone(),
            report: self.report.clone(),
        }
    }

    /// Returns the indices of the handlers for this event, in the order in which they run.
    pub(crate) fn matching<'r>(&'r self, event: &'r Event) -> impl Iterator<Item = usize> + 'r {
        let indices = self.table.handlers_of(event.event_type()).iter().copied();
        indices.filter(move |index| self.list[*index].filter().accepts(event))
    }

    /// Returns the handlers for the type of this event, whether or not their filters accept it.
    fn of_type(&self, event: &Event) -> impl Iterator<Item = &RegisteredHandler> {
        self.table.handlers_of(event.event_type()).iter().map(|index| &self.list[*index])
    }

    /// Returns whether no handler except observers takes this event.
    pub(crate) fn is_unhandled(&self, event: &Event) -> bool {
        self.matching(event).all(|index| self.list[index].settings.observer)
    }

    /// Logs and counts an event that has no handler, and logs the handlers whose filter excludes
    /// the event. `second` is the second list of handlers of the same router, if there is one.
    pub(crate) fn log_unmatched(&self, second: Option<&Self>, event: &Event) {
        let lists = || iter::once(self).chain(second);
        let is_unhandled = lists().all(|handlers| handlers.is_unhandled(event));
        if !is_unhandled && !lists().any(|handlers| handlers.has_filters) {
            return;
        }
        let of_type = || lists().flat_map(|handlers| handlers.of_type(event));
        if self.unhandled.log_other_mode(event) {
            return;
        }
        for handler in of_type() {
            if let Some(exclusion) = handler.filter().exclusion(event) {
                // A handler for every event type, such as an audit log, does not do the work of one
                // for this type, and an observer does only the work of another one.
                let takes_over = |other: &RegisteredHandler| {
                    other.filter().accepts(event)
                        && (handler.catch_all || !other.catch_all)
                        && (handler.settings.observer || !other.settings.observer)
                };
                let (name, logged) = (&handler.name, &handler.logged_exclusions);
                exclusion.log(name, logged, event, !of_type().any(takes_over));
            }
        }
        if is_unhandled {
            self.unhandled.log(event, of_type().any(|handler| !handler.settings.observer));
        }
    }
}

/// Initializes the handlers' metrics. Returns whether a handler has a filter.
fn init(list: &[RegisteredHandler]) -> bool {
    for handler in list {
        telemetry::init_failure_counters(&handler.name);
    }
    list.iter().any(|handler| !handler.filter().is_empty())
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("list", &self.list).finish_non_exhaustive()
    }
}

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
