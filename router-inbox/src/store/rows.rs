//! How stores in SQL write down what Rust has types for.

pub(crate) use super::millis::{millis, time};
use crate::{DeliveryOutcome, DeliveryState};

/// What becomes of a row whose run has ended.
pub(crate) struct OutcomeColumns<'e> {
    /// Its state's number.
    pub(crate) state: i16,
    /// In how many milliseconds it is due, if it is.
    pub(crate) wait: i64,
    pub(crate) error: Option<&'e str>,
    /// Its attempt does not count.
    pub(crate) released: bool,
}

impl<'e> OutcomeColumns<'e> {
    pub(crate) fn by(end: &'e DeliveryOutcome) -> Self {
        let (state, wait, error) = match end {
            DeliveryOutcome::Done => (2, 0, None),
            DeliveryOutcome::Ignored => (3, 0, None),
            DeliveryOutcome::Retry { wait, error } => (0, millis(*wait), Some(&**error)),
            DeliveryOutcome::Dead { error } => (4, 0, Some(&**error)),
            DeliveryOutcome::Released => (0, 0, None),
        };
        Self { state, wait, error, released: *end == DeliveryOutcome::Released }
    }
}

pub(crate) fn state(number: i64) -> sqlx::Result<DeliveryState> {
    Ok(match number {
        0 => DeliveryState::Waiting,
        1 => DeliveryState::Running,
        2 => DeliveryState::Done,
        3 => DeliveryState::Ignored,
        4 => DeliveryState::Dead,
        5 => DeliveryState::Discarded,
        other => return Err(sqlx::Error::Decode(format!("{other} is no state").into())),
    })
}

pub(crate) fn number(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Waiting => 0,
        DeliveryState::Running => 1,
        DeliveryState::Done => 2,
        DeliveryState::Ignored => 3,
        DeliveryState::Dead => 4,
        DeliveryState::Discarded => 5,
    }
}
