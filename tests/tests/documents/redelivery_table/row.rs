//! The rows: the effect of an event's redelivery on a handler, by the state of the event.

use router_core::testing::{Payload, SyntheticEvent};

use super::{Observed, shop::Step};

/// The state of an event for the handler, before the event is redelivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    NewHandler,
    Unhandled,
    Done,
    Ignored,
    Waiting,
    Running,
    Dead,
    Discarded,
    Replayed,
    Forgotten,
}

/// The redelivered event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redelivery {
    Same,
    NewerVersion,
    Twin,
    OtherType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Inline,
    /// Inline, in a process that was restarted, with a completion store that outlives it.
    RestartedInline,
    Inbox,
}

/// A row of the table.
pub(crate) struct Row {
    pub(crate) state: State,
    pub(crate) name: &'static str,
    pub(crate) effect: &'static str,
    /// `None` if an event cannot be in this state inline.
    pub(crate) inline: Option<Expected>,
    pub(crate) inbox: Expected,
}

/// The expectations in one mode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) runs: usize,
    /// The outcome of the event in the answer.
    pub(crate) outcome: &'static str,
    /// The outcome of the handler in the answer.
    pub(crate) handler_outcome: &'static str,
    /// The message of a line that is logged at INFO. Empty if there is none.
    pub(crate) log: &'static str,
}

const fn runs(outcome: &'static str, handler_outcome: &'static str, log: &'static str) -> Expected {
    Expected { runs: 1, outcome, handler_outcome, log }
}

const fn does_not_run(log: &'static str) -> Expected {
    Expected { runs: 0, outcome: "duplicate", handler_outcome: "duplicate", log }
}

const ALREADY_HANDLED: &str = "duplicate event: already handled by this handler, not run again";
const NOT_FINISHED: &str = "duplicate event: the handler's delivery of it has not finished yet";
const ADDED: &str = "event received again: the handler had no delivery of it; delivery added";
const RESTARTED: &str =
    "event received again: the handler's dead letter starts over with this event";

/// The expectation for an event that is not the same event.
const NEW_INLINE: Expected = runs("done", "done", "");
const NEW_INBOX: Expected = runs("stored", "stored", "event received");

pub(crate) const ROWS: &[Row] = &[
    Row {
        state: State::NewHandler,
        name: "handled by others; the handler was added since",
        effect: "the handler runs",
        inline: Some(runs("done", "done", "")),
        inbox: runs("redelivered", "stored", ADDED),
    },
    Row {
        state: State::Unhandled,
        name: "unhandled; the handler was added since",
        effect: "the handler runs",
        inline: Some(runs("done", "done", "")),
        inbox: runs("redelivered", "stored", ADDED),
    },
    Row {
        state: State::Done,
        name: "done",
        effect: "the handler does not run again",
        inline: Some(does_not_run(ALREADY_HANDLED)),
        inbox: does_not_run(ALREADY_HANDLED),
    },
    Row {
        state: State::Ignored,
        name: "ignored",
        effect: "the handler does not run again",
        inline: Some(does_not_run(ALREADY_HANDLED)),
        inbox: does_not_run(ALREADY_HANDLED),
    },
    Row {
        state: State::Waiting,
        name: "failed, to be retried",
        effect: "inline: the handler runs, since Stripe's redelivery is the retry; inbox: the retry \
                 stays scheduled, and if it ends as a dead letter, the handler starts over with a \
                 copy in another API version or a twin",
        inline: Some(runs("done", "done", "")),
        inbox: does_not_run(NOT_FINISHED),
    },
    Row {
        state: State::Running,
        name: "running",
        effect: "the handler is not started twice; inline, the same payload waits and gets the same \
                 answer, and a copy in another API version or a twin waits and is then decided by \
                 the result; inbox: if the run ends as a dead letter, the handler starts over with \
                 such a copy",
        inline: Some(Expected {
            runs: 0,
            outcome: "done",
            handler_outcome: "done",
            log: "duplicate event: the first delivery is still in flight, and both get the same answer",
        }),
        inbox: does_not_run(NOT_FINISHED),
    },
    Row {
        state: State::Dead,
        name: "dead letter",
        effect: "the handler starts over with its first attempt and the event as received now",
        inline: Some(runs("done", "done", RESTARTED)),
        inbox: runs("redelivered", "restarted", RESTARTED),
    },
    Row {
        state: State::Discarded,
        name: "discarded by an operator",
        effect: "the handler does not run",
        inline: None,
        inbox: does_not_run(
            "duplicate event: the handler's delivery was discarded, not run again; retry it with \
             `event-router inbox retry`",
        ),
    },
    Row {
        state: State::Replayed,
        name: "replayed",
        effect: "the state of the latest replay decides; here it is done",
        inline: None,
        inbox: does_not_run(ALREADY_HANDLED),
    },
    Row {
        state: State::Forgotten,
        name: "purged, or lost from the completion store",
        effect: "the handler runs, as for a new event",
        inline: Some(NEW_INLINE),
        inbox: NEW_INBOX,
    },
];

/// Returns the event as Stripe sends it first, in an old API version.
pub(crate) fn first_payload() -> Payload {
    let event = SyntheticEvent::new("customer.created").api_version("2020-08-27");
    event.build().expect("event is valid")
}

impl State {
    /// Returns whether the first delivery finds no handler.
    pub(crate) fn is_without_handler(self) -> bool {
        matches!(self, Self::NewHandler | Self::Unhandled)
    }

    /// Returns the handler's step at the first delivery.
    pub(crate) fn first_step(self) -> Step {
        match self {
            Self::Ignored => Step::Ignore,
            Self::Waiting | Self::Discarded => Step::Retry,
            Self::Running => Step::Hold,
            Self::Dead => Step::FailPermanently,
            _ => Step::Finish,
        }
    }
}

impl Redelivery {
    pub(crate) const ALL: [Self; 4] = [Self::Same, Self::NewerVersion, Self::Twin, Self::OtherType];

    /// Returns the redelivered payload.
    pub(crate) fn payload(self, first: &Payload) -> Payload {
        let event = match self {
            Self::Same => return first.clone(),
            Self::NewerVersion => SyntheticEvent::new("customer.created")
                .id(first.id())
                .api_version("2026-10-28.endive"),
            Self::Twin => SyntheticEvent::twin_of(first),
            Self::OtherType => SyntheticEvent::new("customer.updated").id(first.id()),
        };
        event.build().expect("event is valid")
    }
}

impl Row {
    pub(crate) fn expected(&self, kind: Kind, redelivery: Redelivery) -> Expected {
        match (kind, redelivery) {
            (Kind::Inbox, Redelivery::OtherType) => NEW_INBOX,
            (Kind::Inline | Kind::RestartedInline, Redelivery::OtherType) => NEW_INLINE,
            (Kind::Inbox, _) => self.inbox,
            // Inline, a variant waits for the end of the run, and is then decided anew.
            (_, Redelivery::NewerVersion | Redelivery::Twin) if self.state == State::Running => {
                does_not_run(ALREADY_HANDLED)
            }
            (Kind::Inline | Kind::RestartedInline, _) => {
                self.inline.expect("the state is possible inline")
            }
        }
    }
}

impl Expected {
    /// Returns the difference as text.
    pub(crate) fn compare(&self, actual: &Observed) -> Result<(), String> {
        let is_expected = actual.status == 200
            && actual.got_redelivered
            && (actual.runs, &*actual.outcome, &*actual.handler_outcome)
                == (self.runs, self.outcome, self.handler_outcome)
            && actual.log.contains(self.log);
        if is_expected { Ok(()) } else { Err(format!("expected {self:?}, observed {actual:?}")) }
    }
}
