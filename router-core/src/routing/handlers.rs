//! The handlers of a router, with what all calls share.

use std::{fmt, sync::Arc};

use super::{dispatch::RegisteredHandler, keyed_lock::KeyedLock, table::Table};
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
    pub(super) routes: Routes,
    pub(super) report: StartupReport,
}

impl Handlers {
    pub(crate) fn new(
        table: Table,
        list: Vec<RegisteredHandler>,
        states: States,
        clock: Arc<dyn Clock>,
        routes: Routes,
        report: StartupReport,
    ) -> Self {
        for handler in &list {
            telemetry::init_failure_counters(&handler.name);
        }
        Self { table, list, states, clock, object_locks: KeyedLock::new(), routes, report }
    }

    /// Returns the indices of the handlers for this event, in the order in which they run.
    pub(super) fn matching<'r>(&'r self, event: &'r Event) -> impl Iterator<Item = usize> + 'r {
        let indices = self.table.handlers_of(event.event_type()).iter().copied();
        indices.filter(move |index| self.list[*index].accepts(event))
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("list", &self.list).finish_non_exhaustive()
    }
}
