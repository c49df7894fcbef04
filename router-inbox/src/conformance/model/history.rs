//! The histories of deliveries.

use std::{sync::Arc, time::SystemTime};

use super::Row;
use crate::{
    operations::{AttemptOutcome, AttemptSummary, MAX_HISTORY},
    store::{DeliveryOutcome, attempt::ABANDONED},
};

impl Row {
    /// Adds the attempt that the latest claim has started.
    pub(super) fn start_attempt(&mut self, now: SystemTime, worker: Option<Arc<str>>) {
        let attempt = AttemptSummary::new(self.attempts, now, AttemptOutcome::Running);
        self.history.push(attempt.worker(worker));
        // If the attempt is released, the others are still as many as the history shows.
        let surplus = self.history.len().saturating_sub(MAX_HISTORY + 1);
        self.history.drain(..surplus);
    }

    /// Records the outcome of the running attempt.
    pub(super) fn record_attempt(&mut self, outcome: &DeliveryOutcome, now: SystemTime) {
        let (outcome, error) = match outcome {
            DeliveryOutcome::Done => (AttemptOutcome::Done, None),
            DeliveryOutcome::Ignored => (AttemptOutcome::Ignored, None),
            DeliveryOutcome::Retry { error, .. } => (AttemptOutcome::Failed, Some(&**error)),
            DeliveryOutcome::Dead { error } => (AttemptOutcome::Dead, Some(&**error)),
            DeliveryOutcome::Later { reason, .. } => (AttemptOutcome::Later, reason.as_deref()),
            DeliveryOutcome::Released { .. } => {
                self.history.pop();
                return;
            }
        };
        self.end_attempt(outcome, error, now);
    }

    /// Records that an operator has changed the delivery, if an attempt is running. Its lease has
    /// expired.
    pub(super) fn abandon_attempt(&mut self, now: SystemTime) {
        self.end_attempt(AttemptOutcome::Failed, Some(ABANDONED), now);
    }

    /// Returns the latest attempts. A larger excess is not cut, as in the engines.
    pub(super) fn latest_attempts(&self) -> Vec<AttemptSummary> {
        let surplus = usize::from(self.history.len() == MAX_HISTORY + 1);
        self.history[surplus..].to_vec()
    }

    fn end_attempt(&mut self, outcome: AttemptOutcome, error: Option<&str>, now: SystemTime) {
        let running = self.history.pop_if(|last| last.outcome == AttemptOutcome::Running);
        let Some(AttemptSummary { number, started_at, worker, .. }) = running else { return };
        let duration = now.duration_since(started_at).unwrap_or_default();
        let ended = AttemptSummary::new(number, started_at, outcome).duration(Some(duration));
        self.history.push(ended.error(error).worker(worker));
    }
}
