//! Metrics of the backlog, and a warning about deliveries for unknown handlers.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use router_core::delivery::DeliveryRouter;

use crate::{Store, bounded::BoundedStore, store::Backlog, telemetry};

/// Reports the backlog periodically. Warns once per handler that this program does not have.
#[derive(Default)]
pub(super) struct BacklogWatch {
    next: Option<Instant>,
    /// Handlers reported before. Once one has no backlog left, its gauges are set to zero.
    reported: HashSet<Arc<str>>,
    /// Unknown handlers that have been logged.
    warned: HashSet<Arc<str>>,
}

const REPORT_INTERVAL: Duration = Duration::from_secs(15);

impl BacklogWatch {
    /// Reads and reports the backlog, if the report interval has passed.
    pub(super) async fn report_if_due(
        &mut self,
        store: &BoundedStore<impl Store>,
        router: &DeliveryRouter,
        now: Instant,
    ) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + REPORT_INTERVAL);
        let mut backlog = match store.backlog().await {
            Ok(backlog) => backlog,
            Err(error) => {
                let failure = "failed to read the inbox's backlog; its metrics are not updated";
                return telemetry::store_failed(failure, &error);
            }
        };
        for entry in &backlog {
            if router.handler(&entry.handler).is_none() && self.warned.insert(entry.handler.clone())
            {
                warn_unknown_handler(entry);
            }
        }
        let current: HashSet<Arc<str>> =
            backlog.iter().map(|entry| entry.handler.clone()).collect();
        for handler in self.reported.difference(&current).cloned() {
            backlog.push(Backlog::new(handler));
        }
        self.reported.extend(current);
        telemetry::backlog(&backlog);
    }
}

fn warn_unknown_handler(Backlog { handler, waiting, running, oldest, .. }: &Backlog) {
    tracing::warn!(
        handler = &**handler,
        deliveries = waiting + running,
        oldest = %humantime::format_duration(Duration::from_secs(oldest.as_secs())),
        "deliveries wait for a handler that this program does not have. If another program has it, \
         ignore this. If the handler was renamed, add `formerly = \"{handler}\"` to it. If it was \
         removed, `event-router inbox list --handler {handler}` shows the deliveries to discard"
    );
}
