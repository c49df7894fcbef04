//! The options that select deliveries, shared by the commands.

use std::time::Duration;

use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};
use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{operations::ListFilter, store::DeliveryState};

/// Options that deliveries and their events must match.
#[derive(Args)]
pub(super) struct FilterArgs {
    /// Only these states, separated by commas. `unhandled`, which only `list` accepts, lists events
    /// without a handler.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) state: Vec<ListedState>,

    /// Only events of this type, or of all types in `prefix.*`.
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,

    /// Only events about the object with this id, or `invoice:sub_…` for a subscription's upcoming
    /// invoices, which have no id.
    #[arg(long, value_name = "ID")]
    object: Option<String>,

    /// Only deliveries for this handler (its stable name).
    #[arg(long, value_name = "NAME")]
    pub(super) handler: Option<String>,

    /// Only events received after this time, as in `2h` (ago) or `2026-11-25T09:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = parse_ago)]
    since: Option<Duration>,

    /// Only deliveries whose last error contains this text. Upper and lower case differ.
    // An empty text, as from an unset variable of a script, would match every error.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(super) error: Option<String>,
}

/// A value of `--state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ListedState {
    Waiting,
    Running,
    Done,
    Ignored,
    Dead,
    Discarded,
    Unhandled,
}

impl FilterArgs {
    /// Returns whether no option is given.
    pub(super) fn is_empty(&self) -> bool {
        let Self { state, r#type, object, handler, since, error } = self;
        let texts = [r#type, object, handler, error];
        state.is_empty() && since.is_none() && texts.iter().all(|text| text.is_none())
    }

    /// Returns whether an option besides `--handler` is given.
    pub(super) fn selects_events(&self) -> bool {
        let Self { state, r#type, object, handler: _, since, error } = self;
        let texts = [r#type, object, error];
        !state.is_empty() || since.is_some() || texts.iter().any(|text| text.is_some())
    }

    /// Returns the filter with these options, without a limit.
    pub(super) fn into_filter(self) -> ListFilter {
        ListFilter {
            states: self.state.iter().filter_map(|state| state.delivery_state()).collect(),
            unhandled: self.state.contains(&ListedState::Unhandled),
            event_id: None,
            event_type: self.r#type,
            object: self.object,
            handler: self.handler,
            error: self.error,
            max_age: self.since,
            min_ended_age: None,
            before: None,
            limit: usize::MAX,
        }
    }
}

impl ListedState {
    pub(super) fn delivery_state(self) -> Option<DeliveryState> {
        Some(match self {
            Self::Waiting => DeliveryState::Waiting,
            Self::Running => DeliveryState::Running,
            Self::Done => DeliveryState::Done,
            Self::Ignored => DeliveryState::Ignored,
            Self::Dead => DeliveryState::Dead,
            Self::Discarded => DeliveryState::Discarded,
            Self::Unhandled => return None,
        })
    }
}

/// Parses a duration or a time in the past, and returns how long ago it is.
pub(super) fn parse_ago(text: &str) -> Result<Duration, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(ago);
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(
        |_| "expected a duration, as in 90min or 2days, or a time, as in 2026-11-25T09:00:00Z",
    )?;
    SystemClock.wall().duration_since(time).map_err(|_| {
        "the time is in the future; pass a time in UTC, as in 2026-11-25T09:00:00Z".to_owned()
    })
}
