//! The handlers of a router, with what all calls share.

use std::{fmt, sync::Arc};

use super::{
    dispatch::RegisteredHandler, keyed_lock::KeyedLock, table::Table, unhandled::UnhandledEvents,
};
use crate::{
    build::{Routes, StartupReport},
    clock::Clock,
    event::{Event, ObjectId},
    extract::States,
    telemetry,
};

/// The validated handlers, shared by both kinds of router.
pub(crate) struct Handlers {
    table: Table,
    /// Sorted in the order in which they run. The table refers to them by index.
    pub(super) list: Vec<RegisteredHandler>,
    pub(super) states: States,
    pub(super) clock: Arc<dyn Clock>,
    /// The locks of `exclusive` handlers, by object. Shared by all such handlers, so two
    /// of them do not run for the same object at the same time.
    pub(super) object_locks: KeyedLock<ObjectId>,
    unhandled: UnhandledEvents,
    /// `true` if a handler has a filter.
    has_filters: bool,
    pub(super) routes: Routes,
    pub(super) report: StartupReport,
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
        for handler in &list {
            telemetry::init_failure_counters(&handler.name);
        }
        let has_filters = list.iter().any(|handler| !handler.filter().is_empty());
        let (object_locks, unhandled) = (KeyedLock::new(), UnhandledEvents::new(livemode));
        Self { table, list, states, clock, object_locks, unhandled, has_filters, routes, report }
    }

    /// Returns the indices of the handlers for this event, in the order in which they run.
    pub(super) fn matching<'r>(&'r self, event: &'r Event) -> impl Iterator<Item = usize> + 'r {
        let indices = self.table.handlers_of(event.event_type()).iter().copied();
        indices.filter(move |index| self.list[*index].filter().accepts(event))
    }

    /// Logs and counts an event that has no handler, and logs the handlers whose filter excludes
    /// the event. `is_unhandled` is `true` if no handler matches.
    pub(super) fn log_unmatched(&self, event: &Event, is_unhandled: bool) {
        if !is_unhandled && !self.has_filters {
            return;
        }
        let of_type = || {
            let indices = self.table.handlers_of(event.event_type());
            indices.iter().map(|index| &self.list[*index])
        };
        if self.unhandled.log_other_mode(event) {
            return;
        }
        for handler in of_type() {
            if let Some(exclusion) = handler.filter().exclusion(event) {
                // A handler for every event type, such as an audit log, does not do the work of one
                // for this type.
                let takes_over = |other: &RegisteredHandler| {
                    other.filter().accepts(event) && (handler.catch_all || !other.catch_all)
                };
                exclusion.log(handler, event, !of_type().any(takes_over));
            }
        }
        if is_unhandled {
            self.unhandled.log(event, of_type().next().is_some());
        }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("list", &self.list).finish_non_exhaustive()
    }
}
