//! The handlers of a router, and what their calls have in common.

use std::{fmt, sync::Arc};

use super::{dispatch::RegisteredHandler, keyed_lock::KeyedLock, table::Table};
use crate::{
    build::{Routes, StartupReport},
    clock::Clock,
    event::{Event, ObjectId},
    extract::States,
    telemetry,
};

/// What `build()` makes of the candidates, for a router of either kind.
pub(crate) struct Handlers {
    table: Table,
    /// In the order in which they run; the table has their numbers.
    pub(super) list: Vec<RegisteredHandler>,
    pub(super) states: States,
    pub(super) clock: Arc<dyn Clock>,
    /// The locks of the handlers under `exclusive = "object"`.
    pub(super) objects: KeyedLock<ObjectId>,
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
            telemetry::begin_counting(&handler.name);
        }
        Self { table, list, states, clock, objects: KeyedLock::new(), routes, report }
    }

    /// The numbers of the handlers that are for this event, in the order in which they run.
    pub(super) fn wanted<'r>(&'r self, event: &'r Event) -> impl Iterator<Item = usize> + 'r {
        let numbers = self.table.handlers_of(event.event_type()).iter().copied();
        numbers.filter(move |number| self.list[*number].wants(event))
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("list", &self.list).finish_non_exhaustive()
    }
}
