//! Which event it is, and whose.

use std::{fmt, ops::Deref};

use router_catalog::Kind;

use super::{FromEvent, OptionalFromEvent, Rejection};
use crate::event::{Event, Recency, RelatedObject};

/// The event's id, `evt_…`. A `Deref` to `str`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventId(pub String);

/// The event's type, as in `payment_intent.succeeded`. A `Deref` to `str`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventType(pub String);

/// The connected account that the event is about, `acct_…`. A `Deref` to `str`. An event of one's own
/// account names none: `Option<Account>` is for handlers of both.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Account(pub String);

/// Whether the event is about real money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Livemode(pub bool);

impl EventType {
    /// Whether this version of router-core knows the event type. Stripe adds some every month.
    #[must_use]
    pub fn is_known(&self) -> bool {
        router_catalog::lookup(&self.0).is_some()
    }
}

macro_rules! text {
    ($($name:ident)+) => {
        $(
            impl Deref for $name {
                type Target = str;

                fn deref(&self) -> &str {
                    &self.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }
        )+
    };
}

text!(EventId EventType Account);

impl FromEvent for EventId {
    type Needs = ();

    async fn from_event(event: &Event, (): ()) -> Result<Self, Rejection> {
        Ok(Self(event.id().to_owned()))
    }
}

impl FromEvent for EventType {
    type Needs = ();

    async fn from_event(event: &Event, (): ()) -> Result<Self, Rejection> {
        Ok(Self(event.event_type().to_owned()))
    }
}

/// What an event can be without: an argument that is not there fails the handler for good.
macro_rules! absent {
    ($name:ty, $kind:expr, $event:ident => $get:expr, $reason:literal) => {
        impl OptionalFromEvent for $name {
            type Needs = ();

            async fn from_event($event: &Event, (): ()) -> Result<Option<Self>, Rejection> {
                Ok($get)
            }
        }

        impl FromEvent for $name {
            type Needs = ();

            const KIND: Option<Kind> = $kind;

            async fn from_event($event: &Event, (): ()) -> Result<Self, Rejection> {
                $get.ok_or_else(|| Rejection::permanent($reason))
            }
        }
    };
}

absent!(
    Account, None, event => event.account().map(|account| Self(account.to_owned())),
    "the event names no connected account; take an `Option<Account>`"
);
absent!(
    Livemode, None, event => event.livemode().map(Self),
    "the event does not say whether it is live; take an `Option<Livemode>`"
);
absent!(
    RelatedObject, Some(Kind::Thin), event => event.related_object(),
    "the event is about no object; take an `Option<RelatedObject>`"
);
absent!(
    Recency, Some(Kind::Snapshot), event => Recency::of(event),
    "the event does not say how recent its object is: it has no `created`, or is a thin event; take \
     an `Option<Recency>`"
);
