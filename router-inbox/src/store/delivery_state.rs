//! The states of a delivery, with their names and their numbers in the stores.

use std::fmt;

/// The state of a delivery.
///
/// The enum is exhaustive: every state must be persisted, so a new one must be a compile error in
/// each store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// The delivery is due, scheduled for later, or blocked in its lane.
    Waiting = 0,
    /// A worker has claimed the delivery. Its lease may have expired.
    Running = 1,
    /// The handler succeeded.
    Done = 2,
    /// The handler ignored the event.
    Ignored = 3,
    /// The handler failed for good: a dead letter.
    Dead = 4,
    /// An operator has discarded the delivery, or it was a dead letter that a replay superseded.
    Discarded = 5,
}

impl DeliveryState {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Running, Self::Done, Self::Ignored, Self::Dead, Self::Discarded];

    /// Returns the name, such as `waiting`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Ignored => "ignored",
            Self::Dead => "dead",
            Self::Discarded => "discarded",
        }
    }

    /// Returns the state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Returns the number that identifies the state in a table. It never changes.
    #[must_use]
    pub fn number(self) -> i16 {
        self as i16
    }

    /// Returns the state with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| i64::from(state.number()) == number)
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
