//! Formats the history of a delivery as text and as JSON.

use anstyle::Style;
use router_inbox::operations::{AttemptOutcome, AttemptSummary, DeliverySummary};
use serde::Serialize;

use super::format::{
    DeliveryLine, age, format_delivery, format_progress, precise_duration, push_lines, rfc3339,
};
use crate::output::{DIM, FAILURE, SUCCESS, WARNING, sanitize, styled};

/// A delivery with its history in the JSON output.
#[derive(Serialize)]
pub(super) struct DeliveryWithHistory<'l> {
    #[serde(flatten)]
    delivery: DeliveryLine<'l>,
    history: Vec<AttemptLine<'l>>,
}

#[derive(Serialize)]
struct AttemptLine<'l> {
    attempt: u32,
    started_at: String,
    /// Null while the attempt is running.
    duration_seconds: Option<f64>,
    outcome: &'static str,
    worker: Option<&'l str>,
    error: Option<&'l str>,
}

impl<'l> DeliveryWithHistory<'l> {
    pub(super) fn new(delivery: &'l DeliverySummary) -> Self {
        let attempt = |attempt: &'l AttemptSummary| AttemptLine {
            attempt: attempt.number,
            started_at: rfc3339(attempt.started_at),
            duration_seconds: attempt.duration.map(|duration| duration.as_secs_f64()),
            outcome: attempt.outcome.name(),
            worker: attempt.worker.as_deref(),
            error: attempt.error.as_deref(),
        };
        let history = delivery.history.iter().map(attempt).collect();
        Self { delivery: DeliveryLine::new(delivery), history }
    }
}

/// Formats a delivery and its history, a line for each attempt, the oldest first:
///
/// ```text
/// dead       fulfil  2m ago, after 2 attempts
///     1  2026-11-30T12:00:03.000Z  failed     1.2s  web-1-4711-1a2b3c4d
///        the warehouse is down
/// ```
///
/// The delivery's last error replaces the shortened error of its attempt.
pub(super) fn format_with_history(delivery: &DeliverySummary) -> String {
    let last_error = delivery.error.as_deref();
    let is_of_last_error = |attempt: &AttemptSummary| {
        let start = attempt.error.as_deref().map(|error| error.trim_end_matches('…'));
        start.zip(last_error).is_some_and(|(start, error)| error.starts_with(start))
    };
    let index_of_last = delivery.history.iter().rposition(is_of_last_error);
    let mut text = match index_of_last {
        Some(_) => format_progress(delivery),
        None => format_delivery(delivery),
    };
    let mut previous = None;
    for (index, attempt) in delivery.history.iter().enumerate() {
        text.push_str(&format!("\n{}", format_attempt(attempt)));
        let full = last_error.filter(|_| index_of_last == Some(index));
        match full.or(attempt.error.as_deref()) {
            Some(_) if attempt.error == previous => {
                text.push_str(&styled(DIM, format_args!("  {}", same_as_before(attempt.outcome))));
            }
            Some(error) => push_lines(&mut text, 9, error),
            None => {}
        }
        previous = attempt.error.clone();
    }
    text
}

fn format_attempt(attempt: &AttemptSummary) -> String {
    let AttemptSummary { number, started_at, outcome, .. } = attempt;
    let duration = attempt.duration.unwrap_or_else(|| age(*started_at));
    let outcome = styled(outcome_style(*outcome), format_args!("{outcome:7}"));
    let worker = attempt.worker.as_deref().map(|worker| format!("  {}", sanitize(worker)));
    format!(
        "    {number:>3}  {}  {outcome}  {:>7}{}",
        styled(DIM, rfc3339(*started_at)),
        precise_duration(duration),
        worker.unwrap_or_default().replace('\n', "\u{fffd}"),
    )
}

fn same_as_before(outcome: AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Later => "same reason",
        _ => "same error",
    }
}

fn outcome_style(outcome: AttemptOutcome) -> Style {
    match outcome {
        AttemptOutcome::Running => Style::new(),
        AttemptOutcome::Done => SUCCESS,
        AttemptOutcome::Ignored | AttemptOutcome::Later => DIM,
        AttemptOutcome::Failed => WARNING,
        AttemptOutcome::Dead => FAILURE,
    }
}
