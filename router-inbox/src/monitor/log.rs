//! The log lines and metrics of a monitor.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    schedule::WarningSchedule,
    unclaimed::{Cause, Unclaimed, format_seconds},
};
use crate::{StoreError, store::Backlog, telemetry};

/// Logs each problem that the checks find: when it begins, repeatedly while it lasts, and when it
/// has ended.
#[derive(Default)]
pub(super) struct MonitorLog {
    /// Handlers whose gauges have been set. Once a handler has no backlog left, its gauges are set
    /// to zero.
    reported: HashSet<Arc<str>>,
    /// Unknown handlers that have been logged.
    unknown: HashSet<Arc<str>>,
    /// The causes of overdue deliveries, for some time after they have ended.
    episodes: BTreeMap<Cause, Episode>,
    /// Handlers that a warning named, and that still have overdue deliveries.
    overdue: BTreeSet<Arc<str>>,
    /// Set while the store fails.
    outage: Option<WarningSchedule>,
    /// Set while the running workers cannot be read.
    workers_unknown: Option<WarningSchedule>,
}

impl MonitorLog {
    /// Logs the result of a successful check, and updates the gauges. `is_known` returns whether
    /// this program or a running worker has a handler. `is_undecided` returns whether it is too
    /// early to say whether a handler's deliveries are overdue.
    pub(super) fn succeeded(
        &mut self,
        now: Instant,
        backlog: &[Backlog],
        is_known: impl Fn(&str) -> bool,
        unclaimed: &[Unclaimed],
        is_undecided: impl Fn(&str) -> bool,
    ) {
        self.end_outage(now);
        if self.workers_unknown.take().is_some() {
            tracing::info!("the running workers can be read again");
        }
        self.report_unclaimed(now, unclaimed, is_undecided);
        for entry in backlog {
            if !is_known(&entry.handler) && self.unknown.insert(entry.handler.clone()) {
                warn_unknown_handler(entry);
            }
        }
        self.update_gauges(backlog);
    }

    /// Logs that the backlog could not be read.
    pub(super) fn failed(&mut self, now: Instant, error: &StoreError) {
        if self.outage.get_or_insert_with(|| WarningSchedule::new(now)).take_due(now) {
            let failure = "failed to read the inbox's backlog; until that succeeds, its metrics \
                           are not updated and missing workers are not noticed; retrying";
            telemetry::store_failed(failure, error);
        }
    }

    /// Logs that the running workers could not be read.
    pub(super) fn workers_unknown(
        &mut self,
        now: Instant,
        backlog: &[Backlog],
        error: &StoreError,
    ) {
        self.end_outage(now);
        let schedule = self.workers_unknown.get_or_insert_with(|| WarningSchedule::new(now));
        if schedule.take_due(now) {
            let failure = "failed to read the running workers; until that succeeds, missing workers \
                           are not noticed; retrying";
            telemetry::store_failed(failure, error);
        }
        self.update_gauges(backlog);
    }

    fn end_outage(&mut self, now: Instant) {
        if let Some(outage) = self.outage.take() {
            let duration = format_seconds(now.saturating_duration_since(outage.began));
            tracing::info!(outage = %duration, "the inbox's backlog can be read again");
        }
    }

    fn report_unclaimed(
        &mut self,
        now: Instant,
        unclaimed: &[Unclaimed],
        is_undecided: impl Fn(&str) -> bool,
    ) {
        for group in unclaimed {
            let new = || Episode::new(now);
            let episode = self.episodes.entry(group.cause).or_insert_with(new);
            if episode.take_due(now, &group.handlers) {
                group.warn();
                self.overdue.extend(group.handlers.iter().cloned());
            }
            if group.cause == Cause::UnknownHandler {
                self.unknown.extend(group.handlers.iter().cloned());
            }
        }
        for (cause, episode) in &mut self.episodes {
            episode.is_interrupted = unclaimed.iter().all(|group| group.cause != *cause);
        }
        self.episodes.retain(|_, episode| !episode.is_over(now));
        let overdue: BTreeSet<_> = unclaimed.iter().flat_map(|group| &group.handlers).collect();
        let has_ended = |handler: &Arc<str>| !overdue.contains(handler) && !is_undecided(handler);
        let ended = self.overdue.extract_if(.., |handler| has_ended(handler));
        let ended: Vec<_> = ended.collect();
        if !ended.is_empty() {
            let handlers = ended.join(", ");
            tracing::info!(handlers, "no delivery of these handlers is overdue any more");
        }
    }

    fn update_gauges(&mut self, backlog: &[Backlog]) {
        let current: HashSet<Arc<str>> =
            backlog.iter().map(|entry| entry.handler.clone()).collect();
        let finished = self.reported.difference(&current).cloned().map(Backlog::new);
        finished.for_each(|entry| telemetry::backlog(&entry));
        backlog.iter().for_each(telemetry::backlog);
        self.reported.extend(current);
    }
}

/// A period in which deliveries are overdue for one cause. It includes breaks of up to
/// [`MAX_BREAK`].
struct Episode {
    schedule: WarningSchedule,
    handlers: BTreeSet<Arc<str>>,
    last_seen: Instant,
    /// The latest check found no overdue delivery.
    is_interrupted: bool,
}

/// The time without overdue deliveries after which an episode is over.
const MAX_BREAK: Duration = Duration::from_secs(10 * 60);

impl Episode {
    fn new(now: Instant) -> Self {
        let schedule = WarningSchedule::new(now);
        Self { schedule, handlers: BTreeSet::new(), last_seen: now, is_interrupted: false }
    }

    /// Returns whether a warning is due for these handlers: if one of them is new, or if the
    /// schedule says so.
    fn take_due(&mut self, now: Instant, handlers: &[Arc<str>]) -> bool {
        if self.is_interrupted {
            self.schedule.resume(now);
        }
        self.last_seen = now;
        let known = self.handlers.len();
        self.handlers.extend(handlers.iter().cloned());
        let is_due = self.schedule.take_due(now);
        is_due || self.handlers.len() > known
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_seen) > MAX_BREAK
    }
}

fn warn_unknown_handler(Backlog { handler, waiting, running, oldest, .. }: &Backlog) {
    tracing::warn!(
        handler = &**handler,
        deliveries = waiting + running,
        oldest = %format_seconds(*oldest),
        "deliveries wait for a handler that this program does not have. If another program has it, \
         ignore this. If the handler was renamed, add `formerly = \"{handler}\"` to it. If it was \
         removed, `event-router inbox list --handler {handler}` shows the deliveries to discard"
    );
}
