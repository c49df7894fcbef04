//! Conversion between Rust types and columns, shared by the SQL stores.

use std::{borrow::Cow, sync::Arc};

use router_core::{Event, delivery::DeliveryOrder};
use sqlx::{ColumnIndex, Decode, Row, Type};

pub(crate) use super::millis::{elapsed, millis, time};
use super::{
    history::{DeliveryHistory, EntryOutcome},
    order::object_text,
};
use crate::{
    operations::AttemptSummary,
    store::{DeliveryOutcome, DeliveryState, TraceParent},
};

/// The column values of a delivery after an attempt.
pub(crate) struct OutcomeColumns<'e> {
    /// The number of the delivery's new state.
    pub(crate) state: i16,
    /// Delay until the next attempt, in milliseconds. 0 if there is none.
    pub(crate) wait: i64,
    /// The message of the failure, or the reason of a `Later`.
    pub(crate) error: Option<&'e str>,
    /// `true` if the attempt counts.
    pub(crate) counts: bool,
    /// `true` if the handler asked to run later.
    pub(crate) later: bool,
    /// `true` if the delivery takes the last place of its lane.
    pub(crate) out_of_order: bool,
    /// The name of the outcome in the delivery's history, if the attempt gets an entry there.
    pub(crate) attempt: Option<&'static str>,
    /// The error in the delivery's history.
    pub(crate) attempt_error: Option<Cow<'e, str>>,
}

impl<'e> OutcomeColumns<'e> {
    pub(crate) fn new(outcome: &'e DeliveryOutcome) -> Self {
        let (state, wait, error) = match outcome {
            DeliveryOutcome::Done => (DeliveryState::Done, 0, None),
            DeliveryOutcome::Ignored => (DeliveryState::Ignored, 0, None),
            DeliveryOutcome::Retry { wait, error } => {
                (DeliveryState::Waiting, millis(*wait), Some(&**error))
            }
            DeliveryOutcome::Dead { error } => (DeliveryState::Dead, 0, Some(&**error)),
            DeliveryOutcome::Released { wait } => (DeliveryState::Waiting, millis(*wait), None),
            DeliveryOutcome::Later { wait, reason, .. } => {
                (DeliveryState::Waiting, millis(*wait), reason.as_deref())
            }
        };
        let later = matches!(outcome, DeliveryOutcome::Later { .. });
        let (attempt, attempt_error) = EntryOutcome::new(outcome)
            .map(|EntryOutcome { outcome, error }| (outcome.name(), error))
            .unzip();
        Self {
            state: state.number(),
            wait,
            error,
            counts: !later && !matches!(outcome, DeliveryOutcome::Released { .. }),
            later,
            out_of_order: matches!(outcome, DeliveryOutcome::Later { out_of_order: true, .. }),
            attempt,
            attempt_error: attempt_error.flatten(),
        }
    }
}

/// Decodes the column with the order of a handler's deliveries.
///
/// # Errors
///
/// Fails if the number is not that of an order.
pub(crate) fn order(number: i64) -> sqlx::Result<Option<DeliveryOrder>> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(DeliveryOrder::OldestFirst)),
        2 => Ok(Some(DeliveryOrder::NewestOnly)),
        other => Err(sqlx::Error::Decode(format!("unknown order of deliveries {other}").into())),
    }
}

/// The columns of a delivery from which its history is made.
pub(crate) struct HistoryColumns {
    pub(crate) state: DeliveryState,
    pub(crate) attempts: u32,
    pub(crate) ended_at: Option<i64>,
    pub(crate) claimed_at: Option<i64>,
    pub(crate) claimed_by: Option<String>,
    /// The earlier attempts, as JSON.
    pub(crate) history: Option<String>,
}

impl HistoryColumns {
    /// Decodes the history of a delivery. Damaged JSON counts as none, so that an operator still
    /// sees the delivery.
    pub(crate) fn decode(self) -> Vec<AttemptSummary> {
        let history = DeliveryHistory {
            claimed_at: self.claimed_at,
            claimed_by: self.claimed_by.map(Arc::from),
            ended: serde_json::from_str(self.history.as_deref().unwrap_or("[]"))
                .unwrap_or_default(),
        };
        history.attempts(self.state, self.attempts, self.ended_at)
    }
}

/// Returns the value of an event's column `object`: the object's text, after the column `account`
/// and a slash if the event has an account.
pub(crate) fn object_column(event: &Event) -> String {
    match event.key().account() {
        Some(account) => format!("{account}/{}", object_text(event)),
        None => object_text(event),
    }
}

/// Replaces each NUL with the symbol `␀`. PostgreSQL cannot store NUL in a text, and SQLite's
/// `length` stops at it.
///
/// Events are deduplicated by a hash of the original key, and delivered with the original payload.
/// Names and ids to search for must pass through this function too, so that they match the columns.
pub(crate) fn replace_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() }
}

/// Decodes the column `trace_parent`. A value that this version cannot read counts as none, because
/// the delivery does not depend on it.
pub(crate) fn trace_parent<'r, R: Row>(row: &'r R) -> sqlx::Result<Option<TraceParent>>
where
    Option<&'r str>: Decode<'r, R::Database> + Type<R::Database>,
    for<'i> &'i str: ColumnIndex<R>,
{
    let text: Option<&str> = row.try_get("trace_parent")?;
    Ok(text.and_then(TraceParent::parse))
}

/// Decodes a state column.
///
/// # Errors
///
/// Fails if the number is not that of a [`DeliveryState`].
pub(crate) fn state(number: i64) -> sqlx::Result<DeliveryState> {
    let unknown = || sqlx::Error::Decode(format!("unknown delivery state {number}").into());
    DeliveryState::from_number(number).ok_or_else(unknown)
}
