//! How much waits, and for handlers that this program does not have.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use router_core::{DeliveryRouter, Failure};

use crate::{Backlog, Store, telemetry};

/// Looks at the backlog now and then, for the metrics. What waits for a handler that is unknown is said once.
#[derive(Default)]
pub(super) struct BacklogWatch {
    next: Option<Instant>,
    /// Those that had something waiting; their gauges go back to nothing.
    seen: HashSet<Arc<str>>,
    said: HashSet<Arc<str>>,
}

const EVERY: Duration = Duration::from_secs(15);

impl BacklogWatch {
    pub(super) async fn look(&mut self, store: &impl Store, router: &DeliveryRouter, now: Instant) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + EVERY);
        let mut backlog = match store.backlog().await {
            Ok(backlog) => backlog,
            Err(error) => {
                let error = Failure::retry(error);
                return tracing::warn!(%error, "how much waits in the inbox is not known");
            }
        };
        for one in &backlog {
            if router.handler(&one.handler).is_none() && self.said.insert(one.handler.clone()) {
                unknown(one);
            }
        }
        let known: HashSet<Arc<str>> = backlog.iter().map(|one| one.handler.clone()).collect();
        for handler in self.seen.difference(&known).cloned() {
            backlog.push(Backlog { handler, waiting: 0, running: 0, oldest: Duration::ZERO });
        }
        self.seen.extend(known);
        telemetry::backlog(&backlog);
    }
}

fn unknown(Backlog { handler, waiting, running, oldest }: &Backlog) {
    tracing::warn!(
        handler = &**handler,
        deliveries = waiting + running,
        oldest = %humantime::format_duration(Duration::from_secs(oldest.as_secs())),
        "deliveries wait for a handler that this program does not have. If no other program has it: was it renamed, say \
         `formerly = \"{handler}\"` on the one that it is now; is it gone, `event-router inbox list --handler {handler}` shows \
         what to discard"
    );
}
