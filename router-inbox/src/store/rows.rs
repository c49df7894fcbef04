//! Conversion between Rust types and columns, shared by the SQL stores.

use std::borrow::Cow;

use router_core::{Event, delivery::DeliveryOrder};

pub(crate) use super::millis::{elapsed, millis, time};
use super::order::object_text;
use crate::store::{DeliveryOutcome, DeliveryState};

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
        Self {
            state: state.number(),
            wait,
            error,
            counts: !later && !matches!(outcome, DeliveryOutcome::Released { .. }),
            later,
            out_of_order: matches!(outcome, DeliveryOutcome::Later { out_of_order: true, .. }),
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

/// Decodes a state column.
///
/// # Errors
///
/// Fails if the number is not that of a [`DeliveryState`].
pub(crate) fn state(number: i64) -> sqlx::Result<DeliveryState> {
    let unknown = || sqlx::Error::Decode(format!("unknown delivery state {number}").into());
    DeliveryState::from_number(number).ok_or_else(unknown)
}
