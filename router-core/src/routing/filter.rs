//! The filters of handlers, and the log lines about the events that they exclude.

use std::{
    fmt,
    sync::atomic::{AtomicU8, Ordering},
};

use tracing::Level;

use super::dispatch::RegisteredHandler;
use crate::event::Event;

/// A filter on the events of a handler's types. A condition that is `None` excludes no event.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filter {
    pub(crate) endpoint: Option<&'static str>,
    pub(crate) livemode: Option<bool>,
}

/// The part of a filter that excludes an event.
#[derive(Debug, Clone, Copy)]
pub(super) enum Exclusion<'e> {
    /// The event came to another endpoint than the handler's.
    Endpoint { expected: &'static str, found: &'e str },
    /// The event is of the other mode, or names no mode. `true` means live mode.
    Livemode { expected: bool, found: Option<bool> },
}

/// The highest severity with which each kind of exclusion was logged for a handler: 0 for none, 1
/// for INFO, 2 for WARN. Only a higher severity is logged again.
#[derive(Debug, Default)]
pub(crate) struct LoggedExclusions {
    endpoint: AtomicU8,
    livemode: AtomicU8,
}

impl Filter {
    pub(super) fn accepts(&self, event: &Event) -> bool {
        self.exclusion(event).is_none()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.endpoint.is_none() && self.livemode.is_none()
    }

    /// Returns the reason why the filter excludes the event; `None` if it accepts the event.
    pub(super) fn exclusion<'e>(&self, event: &'e Event) -> Option<Exclusion<'e>> {
        let endpoint = self.endpoint.and_then(|expected| {
            let found = event.endpoint().as_str();
            (expected != found).then_some(Exclusion::Endpoint { expected, found })
        });
        endpoint.or_else(|| {
            let (expected, found) = (self.livemode?, event.livemode());
            (found != Some(expected)).then_some(Exclusion::Livemode { expected, found })
        })
    }
}

impl Exclusion<'_> {
    /// Logs that the handler is not called for the event.
    ///
    /// `is_lost` is `true` if no other handler does this handler's work. The line is then a
    /// warning. Otherwise it is only information, because the program probably has a handler for
    /// each endpoint or mode.
    pub(super) fn log(self, handler: &RegisteredHandler, event: &Event, is_lost: bool) {
        let logged = &handler.logged_exclusions;
        let logged = match self {
            Self::Endpoint { .. } => &logged.endpoint,
            Self::Livemode { .. } => &logged.livemode,
        };
        let severity = if is_lost { 2 } else { 1 };
        if logged.load(Ordering::Relaxed) >= severity
            || logged.fetch_max(severity, Ordering::Relaxed) >= severity
        {
            return;
        }
        macro_rules! log {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    handler = &*handler.name,
                    event.id = event.id(),
                    event.r#type = event.event_type(),
                    "handler not called: {self}; logged once per handler and filter"
                )
            };
        }
        if is_lost { log!(Level::WARN) } else { log!(Level::INFO) }
    }
}

impl fmt::Display for Exclusion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Endpoint { expected, found } => write!(
                f,
                "its `endpoint = \"{expected}\"` excludes the event, which came to the endpoint \
                 `{found}`; an endpoint's name is that of its signing secret: \
                 `{expected}=whsec_…`"
            ),
            Self::Livemode { expected, found } => {
                let found = found.map_or("has no `livemode`", |live| match live {
                    true => "is a live event",
                    false => "is a test event",
                });
                write!(f, "its `livemode = {expected}` excludes the event, which {found}")
            }
        }
    }
}
