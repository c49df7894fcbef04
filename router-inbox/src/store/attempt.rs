//! [`AttemptSummary`], an entry in the history of a delivery.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Maximum number of attempts in the [history](super::operations::DeliverySummary::history) of a
/// delivery.
pub const MAX_HISTORY: usize = 10;

/// Maximum length of [`AttemptSummary::error`], in bytes. It limits the size of a history, which
/// some engines read and write with each change of the delivery.
pub const MAX_ATTEMPT_ERROR: usize = 256;

/// An attempt in the history of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptSummary {
    /// The number of the attempt, as in [`Claim::attempt`](super::Claim::attempt). It begins with 1
    /// again if the delivery starts over. After an attempt that is not counted, such as
    /// [`Later`](AttemptOutcome::Later), the next one has the same number.
    pub number: u32,
    /// The time at which a worker claimed the delivery.
    pub started_at: SystemTime,
    /// The time from the claim until the outcome was recorded, or `None` while the attempt is
    /// running. Zero if the store's clock was set back by more than that.
    pub duration: Option<Duration>,
    /// The outcome of the attempt.
    pub outcome: AttemptOutcome,
    /// The message of the failure, or the reason for which the handler runs later. It has at most
    /// [`MAX_ATTEMPT_ERROR`] bytes, and ends with `…` if it was longer.
    pub error: Option<String>,
    /// The name of the worker that started the attempt, see
    /// [`ClaimRequest::worker`](super::ClaimRequest::worker).
    pub worker: Option<Arc<str>>,
}

impl AttemptSummary {
    /// Creates the summary of an attempt without a duration, an error and a worker's name.
    #[must_use]
    pub fn new(number: u32, started_at: SystemTime, outcome: AttemptOutcome) -> Self {
        Self { number, started_at, duration: None, outcome, error: None, worker: None }
    }

    /// Sets the duration.
    #[must_use]
    pub fn duration(self, duration: Option<Duration>) -> Self {
        Self { duration, ..self }
    }

    /// Sets the message of the failure, shortened to [`MAX_ATTEMPT_ERROR`] bytes.
    #[must_use]
    pub fn error(self, error: Option<&str>) -> Self {
        Self { error: error.map(|error| shorten(error).into_owned()), ..self }
    }

    /// Sets the name of the worker.
    #[must_use]
    pub fn worker(self, worker: Option<Arc<str>>) -> Self {
        Self { worker, ..self }
    }
}

/// The outcome of an attempt in the history of a delivery.
///
/// The enum is exhaustive: programs must show each outcome to the operator, so a new one must be a
/// compile error in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// The attempt has not finished. Its lease may have expired.
    Running,
    /// The handler succeeded.
    Done,
    /// The handler ignored the event.
    Ignored,
    /// The attempt failed, and the delivery was not given up. This includes an attempt whose lease
    /// had expired when an operator retried or discarded the delivery.
    Failed,
    /// The attempt failed, and the delivery became a dead letter.
    Dead,
    /// The handler asked to run [later](router_core::Outcome::later).
    Later,
}

impl AttemptOutcome {
    const ALL: [Self; 6] =
        [Self::Running, Self::Done, Self::Ignored, Self::Failed, Self::Dead, Self::Later];

    /// Returns the name, such as `failed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Later => "later",
        }
    }

    /// Returns the outcome with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

impl fmt::Display for AttemptOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error of an attempt whose lease had expired when an operator changed the delivery.
#[cfg(any(
    feature = "conformance",
    feature = "jetstream",
    feature = "postgres",
    feature = "sqlite"
))]
pub(crate) const ABANDONED: &str =
    "the lease of this attempt had expired when an operator changed the delivery";

/// Returns the error, shortened to [`MAX_ATTEMPT_ERROR`] bytes.
pub(crate) fn shorten(error: &str) -> Cow<'_, str> {
    const ELLIPSIS: &str = "…";
    if error.len() <= MAX_ATTEMPT_ERROR {
        return error.into();
    }
    let end = error.floor_char_boundary(MAX_ATTEMPT_ERROR - ELLIPSIS.len());
    format!("{}{ELLIPSIS}", &error[..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_error_is_cut_between_characters() {
        assert_eq!(shorten("no stock"), "no stock");
        let longest = "a".repeat(MAX_ATTEMPT_ERROR);
        assert_eq!(shorten(&longest), longest);
        let text = format!("{}é{longest}", "a".repeat(MAX_ATTEMPT_ERROR - 4));
        assert_eq!(shorten(&text), format!("{}…", "a".repeat(MAX_ATTEMPT_ERROR - 4)));
        assert_eq!(shorten(&format!("{longest}a")).len(), MAX_ATTEMPT_ERROR);
    }

    #[test]
    fn each_outcome_has_a_name_of_its_own() {
        for outcome in AttemptOutcome::ALL {
            assert_eq!(AttemptOutcome::from_name(outcome.name()), Some(outcome));
        }
    }
}
