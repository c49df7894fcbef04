//! The events that a router's handlers do not take: the filters that exclude events, and the log
//! lines about excluded and unhandled events.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use tracing::Level;

use crate::{event::Event, telemetry};

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
    pub(super) fn log(
        self,
        handler: &str,
        logged: &LoggedExclusions,
        event: &Event,
        is_lost: bool,
    ) {
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
                    handler,
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

/// The event types and the mode that have been logged, because each is logged once.
#[derive(Debug)]
pub(super) struct UnhandledEvents {
    /// The event types of the unhandled events received so far.
    types: Mutex<HashSet<Box<str>>>,
    /// The only mode that the router handles, if it is limited to one. `true` is live mode.
    livemode: Option<bool>,
    /// `true` once an event of the other mode has been logged.
    other_mode_logged: AtomicBool,
}

/// Bounds the memory, and the label values of the metric. Stripe has about 600 event types.
const MAX_EVENT_TYPES: usize = 4096;

impl UnhandledEvents {
    pub(super) fn new(livemode: Option<bool>) -> Self {
        Self { types: Mutex::default(), livemode, other_mode_logged: AtomicBool::new(false) }
    }

    pub(super) fn livemode(&self) -> Option<bool> {
        self.livemode
    }

    /// Logs and counts an event of the mode that the router does not handle. Returns whether it is
    /// one.
    ///
    /// Stripe sends test events to the live endpoint of a Connect platform, so this is expected.
    pub(super) fn log_other_mode(&self, event: &Event) -> bool {
        let Some(expected) = self.livemode.filter(|expected| event.livemode() == Some(!expected))
        else {
            return false;
        };
        if !self.other_mode_logged.swap(true, Ordering::Relaxed) {
            tracing::info!(
                event.id = event.id(),
                event.r#type = event.event_type(),
                "{} event not handled, because the router has `.livemode({expected})`; logged once",
                if expected { "test" } else { "live" }
            );
        }
        telemetry::unhandled("other_mode");
        true
    }

    /// Logs the event at INFO, once per event type, and at DEBUG after that. `has_handlers` is
    /// `true` if the type has handlers, but their filters exclude the event.
    ///
    /// Logging every unhandled event would flood the log of an endpoint that receives all events of
    /// an account.
    pub(super) fn log(&self, event: &Event, has_handlers: bool) {
        let reason = match has_handlers {
            true => "the filters of all handlers of this event type exclude the event",
            false => "no handler for this event type",
        };
        let event_type = event.event_type();
        let mut logged = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.contains(event_type) {
            drop(logged);
            tracing::debug!("{reason}");
            telemetry::unhandled(event_type);
        } else if logged.len() < MAX_EVENT_TYPES {
            logged.insert(event_type.into());
            drop(logged);
            let known = router_catalog::lookup(event_type).is_some();
            tracing::info!(event.r#type = event_type, known, "{reason}; logged once per type");
            telemetry::unhandled(event_type);
        } else {
            drop(logged);
            // Bound the number of label values.
            telemetry::unhandled("other");
        }
    }
}
