//! The stored form of a delivery's history, shared by the engines.
//!
//! An attempt that ends the delivery as done or ignored has no entry: it is derived from the claim
//! and the time at which the delivery ended. A delivery that is done at once thus costs only the
//! time and the worker's name, which the claim writes.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{
    DeliveryOutcome, DeliveryState,
    attempt::{ABANDONED, AttemptOutcome, AttemptSummary, MAX_HISTORY, shorten},
    millis::{elapsed, time},
};

/// The stored history of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeliveryHistory {
    /// The time at which the latest attempt was claimed, in milliseconds since 1970. `None` if the
    /// attempt has an entry in `ended` or was released, or if a version without histories claimed
    /// the delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claimed_at: Option<i64>,
    /// The name of the worker that claimed the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claimed_by: Option<Arc<str>>,
    /// The earlier attempts, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ended: Vec<HistoryEntry>,
}

/// An entry of the history: an attempt that has ended, but not its delivery as done or ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryEntry {
    number: u32,
    /// In milliseconds since 1970.
    started_at: i64,
    /// In milliseconds. Negative if the clock was set back.
    duration: i64,
    /// The name of an [`AttemptOutcome`], or one that only a newer version knows.
    outcome: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worker: Option<Arc<str>>,
}

/// The fields of a [`HistoryEntry`] that depend on the attempt's outcome.
pub(crate) struct EntryOutcome<'o> {
    pub(crate) outcome: AttemptOutcome,
    pub(crate) error: Option<Cow<'o, str>>,
}

impl<'o> EntryOutcome<'o> {
    /// Returns the fields for an outcome, or `None` if the attempt gets no entry.
    pub(crate) fn new(outcome: &'o DeliveryOutcome) -> Option<Self> {
        let (outcome, error) = match outcome {
            DeliveryOutcome::Done | DeliveryOutcome::Ignored | DeliveryOutcome::Released { .. } => {
                return None;
            }
            DeliveryOutcome::Retry { error, .. } => (AttemptOutcome::Failed, Some(&**error)),
            DeliveryOutcome::Dead { error } => (AttemptOutcome::Dead, Some(&**error)),
            DeliveryOutcome::Later { reason, .. } => (AttemptOutcome::Later, reason.as_deref()),
        };
        Some(Self { outcome, error: error.map(shorten) })
    }

    /// Returns the fields for an attempt whose lease had expired when an operator changed the
    /// delivery.
    pub(crate) fn abandoned() -> Self {
        Self { outcome: AttemptOutcome::Failed, error: Some(ABANDONED.into()) }
    }
}

impl DeliveryHistory {
    /// Returns the latest attempts, the oldest first. `number` is that of the latest one.
    pub(crate) fn attempts(
        &self,
        state: DeliveryState,
        number: u32,
        ended_at: Option<i64>,
    ) -> Vec<AttemptSummary> {
        let ended = self.ended.iter().filter_map(HistoryEntry::summary);
        let latest = self.latest(state, number, ended_at);
        let mut attempts: Vec<_> = ended.chain(latest).collect();
        // Engines store up to `MAX_HISTORY` entries, and the latest attempt is not one of them. A
        // larger excess is not cut, so that the conformance suite notices a missing limit.
        if attempts.len() == MAX_HISTORY + 1 {
            attempts.remove(0);
        }
        attempts
    }

    /// Returns the attempt that is running, or that has ended the delivery as done or ignored.
    fn latest(
        &self,
        state: DeliveryState,
        number: u32,
        ended_at: Option<i64>,
    ) -> Option<AttemptSummary> {
        let outcome = match state {
            DeliveryState::Running => AttemptOutcome::Running,
            DeliveryState::Done => AttemptOutcome::Done,
            DeliveryState::Ignored => AttemptOutcome::Ignored,
            DeliveryState::Waiting | DeliveryState::Dead | DeliveryState::Discarded => return None,
        };
        let claimed_at = self.claimed_at?;
        let duration = |ended_at: i64| elapsed(ended_at.saturating_sub(claimed_at));
        let duration = ended_at.map(|ended_at| duration(ended_at).unwrap_or_default());
        let latest = AttemptSummary::new(number, moment(claimed_at), outcome);
        Some(latest.duration(duration).worker(self.claimed_by.clone()))
    }
}

/// The changes that an engine makes in Rust. The SQL stores make them in their statements.
#[cfg(feature = "jetstream")]
impl DeliveryHistory {
    /// Starts an attempt.
    pub(crate) fn start(&mut self, now: i64, worker: Option<Arc<str>>) {
        (self.claimed_at, self.claimed_by) = (Some(now), worker);
    }

    pub(crate) fn erase_errors(&mut self) {
        self.ended.iter_mut().for_each(|entry| entry.error = None);
    }

    /// Ends the attempt with this number, and adds an entry if there are fields for it.
    pub(crate) fn end(&mut self, number: u32, entry: Option<EntryOutcome<'_>>, now: i64) {
        let (claimed_at, worker) = (self.claimed_at.take(), self.claimed_by.take());
        let (Some(EntryOutcome { outcome, error }), Some(started_at)) = (entry, claimed_at) else {
            return;
        };
        self.ended.drain(..(self.ended.len() + 1).saturating_sub(MAX_HISTORY));
        self.ended.push(HistoryEntry {
            number,
            started_at,
            duration: now - started_at,
            outcome: outcome.name().into(),
            error: error.map(Cow::into_owned),
            worker,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl HistoryEntry {
    /// Returns `None` if this version does not know the outcome.
    fn summary(&self) -> Option<AttemptSummary> {
        let outcome = AttemptOutcome::from_name(&self.outcome)?;
        let summary = AttemptSummary::new(self.number, moment(self.started_at), outcome);
        let summary = summary.duration(Some(elapsed(self.duration).unwrap_or_default()));
        Some(summary.error(self.error.as_deref()).worker(self.worker.clone()))
    }
}

fn moment(millis: i64) -> SystemTime {
    time(millis).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A newer version may know outcomes and fields that this one does not.
    #[test]
    fn unknown_outcome_is_stored_but_not_shown() {
        let json = r#"{"ended":[
            {"number":1,"started_at":1000,"duration":20,"outcome":"moved","new":true},
            {"number":2,"started_at":2000,"duration":-1,"outcome":"failed"}]}"#;
        let history: DeliveryHistory = serde_json::from_str(json).unwrap();
        let attempts = history.attempts(DeliveryState::Waiting, 2, None);
        let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.number).collect();
        assert_eq!((numbers, history.ended.len()), (vec![2], 2));
        assert_eq!(attempts[0].duration, Some(std::time::Duration::ZERO));
        let stored = serde_json::to_string(&history).unwrap();
        assert!(stored.contains("moved"), "{stored}");
    }

    #[test]
    fn only_a_claimed_delivery_has_a_latest_attempt() {
        let claimed = DeliveryHistory { claimed_at: Some(5), ..DeliveryHistory::default() };
        for state in DeliveryState::ALL {
            let is_shown = matches!(
                state,
                DeliveryState::Running | DeliveryState::Done | DeliveryState::Ignored
            );
            assert_eq!(claimed.attempts(state, 1, Some(9)).len(), usize::from(is_shown), "{state}");
            assert_eq!(DeliveryHistory::default().attempts(state, 1, Some(9)), [], "{state}");
        }
    }
}
