//! The log lines and metrics of a watch.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{
    alarm::Alarm,
    unclaimed::{Cause, Unclaimed, in_seconds},
};
use crate::{StoreError, store::Backlog, telemetry};

/// Logs the results of checks: each problem when it begins, repeatedly, and when it has ended.
#[derive(Default)]
pub(super) struct WatchLog {
    /// Handlers reported before. Once one has no backlog left, its gauges are set to zero.
    reported: HashSet<Arc<str>>,
    /// Unknown handlers that have been logged.
    unknown: HashSet<Arc<str>>,
    unclaimed: BTreeMap<Cause, (Alarm, Vec<Arc<str>>)>,
    /// Set while the store fails.
    outage: Option<Alarm>,
}

impl WatchLog {
    /// Reports a backlog that was read. `is_known` states whether this program or a running worker
    /// has a handler.
    pub(super) fn succeeded(
        &mut self,
        now: Instant,
        backlog: &[Backlog],
        is_known: impl Fn(&str) -> bool,
        unclaimed: &[Unclaimed],
    ) {
        if let Some(outage) = self.outage.take() {
            let duration = now.saturating_duration_since(outage.began);
            tracing::info!(outage = %in_seconds(duration), "the inbox's store answers again");
        }
        self.report_unclaimed(now, unclaimed);
        for entry in backlog {
            if !is_known(&entry.handler) && self.unknown.insert(entry.handler.clone()) {
                warn_unknown_handler(entry);
            }
        }
        self.update_gauges(backlog);
    }

    /// Logs that the backlog could not be read.
    pub(super) fn failed(&mut self, now: Instant, error: &StoreError) {
        if self.outage.get_or_insert_with(|| Alarm::new(now)).is_due(now) {
            let failure = "failed to read the inbox's backlog; until the store answers, its \
                           metrics are not updated, and missing workers are not noticed; retrying";
            telemetry::store_failed(failure, error);
        }
    }

    fn report_unclaimed(&mut self, now: Instant, unclaimed: &[Unclaimed]) {
        let mut before = std::mem::take(&mut self.unclaimed);
        let mut claimed: BTreeSet<_> =
            before.values().flat_map(|(_, handlers)| handlers.iter().cloned()).collect();
        for group in unclaimed {
            let (mut alarm, handlers) =
                before.remove(&group.cause).unwrap_or_else(|| (Alarm::new(now), Vec::new()));
            let is_new = group.handlers.iter().any(|handler| !handlers.contains(handler));
            if alarm.is_due(now) || is_new {
                group.warn();
            }
            group.handlers.iter().for_each(|handler| drop(claimed.take(handler)));
            if group.cause == Cause::UnknownHandler {
                self.unknown.extend(group.handlers.iter().cloned());
            }
            self.unclaimed.insert(group.cause, (alarm, group.handlers.clone()));
        }
        if !claimed.is_empty() {
            let handlers = Vec::from_iter(claimed).join(", ");
            tracing::info!(handlers, "due deliveries are claimed again");
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

fn warn_unknown_handler(Backlog { handler, waiting, running, oldest, .. }: &Backlog) {
    tracing::warn!(
        handler = &**handler,
        deliveries = waiting + running,
        oldest = %in_seconds(*oldest),
        "deliveries wait for a handler that this program does not have. If another program has it, \
         ignore this. If the handler was renamed, add `formerly = \"{handler}\"` to it. If it was \
         removed, `event-router inbox list --handler {handler}` shows the deliveries to discard"
    );
}
