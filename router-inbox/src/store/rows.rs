//! How stores in SQL write down what Rust has types for.

pub(crate) use super::millis::{millis, time};
use crate::{End, State};

/// What becomes of a row whose run has ended.
pub(crate) struct Ended<'e> {
    /// Its state's number.
    pub(crate) state: i16,
    /// In how many milliseconds it is due, if it is.
    pub(crate) wait: i64,
    pub(crate) error: Option<&'e str>,
    /// Its attempt does not count.
    pub(crate) given_back: bool,
}

impl<'e> Ended<'e> {
    pub(crate) fn by(end: &'e End) -> Self {
        let (state, wait, error) = match end {
            End::Done => (2, 0, None),
            End::Ignored => (3, 0, None),
            End::Retry { wait, error } => (0, millis(*wait), Some(&**error)),
            End::Dead { error } => (4, 0, Some(&**error)),
            End::GivenBack => (0, 0, None),
        };
        Self { state, wait, error, given_back: *end == End::GivenBack }
    }
}

pub(crate) fn state(number: i64) -> sqlx::Result<State> {
    Ok(match number {
        0 => State::Waiting,
        1 => State::Running,
        2 => State::Done,
        3 => State::Ignored,
        4 => State::Dead,
        5 => State::Discarded,
        other => return Err(sqlx::Error::Decode(format!("{other} is no state").into())),
    })
}

pub(crate) fn number(state: State) -> i64 {
    match state {
        State::Waiting => 0,
        State::Running => 1,
        State::Done => 2,
        State::Ignored => 3,
        State::Dead => 4,
        State::Discarded => 5,
    }
}
