//! Extractors for the fields of the envelope.

use bytestring::ByteString;

use super::{FromEvent, OptionalFromEvent, Rejection};
use crate::{
    event::{Event, Kind, Recency, RelatedObject},
    signature::EndpointName,
};

/// The event's id, `evt_…`. Derefs to `str`, and shares the memory of the event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventId(ByteString);

/// The event's type, such as `payment_intent.succeeded`. Derefs to `str`, and shares the memory of
/// the event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventType(ByteString);

/// The id of the connected account that the event is about, `acct_…`. Derefs to `str`, and shares
/// the memory of the event.
///
/// Events of your own account name no connected account; a handler of both takes an
/// `Option<Account>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Account(ByteString);

/// The event's mode: `true` for live mode (real money), `false` for test mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Livemode(pub bool);

impl EventType {
    /// Returns whether this version of router-core knows the event type. Stripe adds new types
    /// every month.
    #[must_use]
    pub fn is_known(&self) -> bool {
        router_catalog::lookup(&self.0).is_some()
    }
}

impl_text!(EventId EventType Account);

impl FromEvent for EventId {
    type Needs = ();

    async fn from_event(event: &Event, (): ()) -> Result<Self, Rejection> {
        Ok(Self(event.shared_id()))
    }
}

impl FromEvent for EventType {
    type Needs = ();

    async fn from_event(event: &Event, (): ()) -> Result<Self, Rejection> {
        Ok(Self(event.shared_type()))
    }
}

impl FromEvent for EndpointName {
    type Needs = ();

    async fn from_event(event: &Event, (): ()) -> Result<Self, Rejection> {
        Ok(event.endpoint().clone())
    }
}

/// Implements the extractors for a value that an event may not have. Without the value, the
/// required argument is a permanent failure of the handler.
macro_rules! impl_optional {
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

impl_optional!(
    Account, None, event => event.shared_account().map(Self),
    "the event names no connected account; take an `Option<Account>`"
);
impl_optional!(
    Livemode, None, event => event.livemode().map(Self),
    "the event has no `livemode`; take an `Option<Livemode>`"
);
impl_optional!(
    RelatedObject, Some(Kind::Thin), event => event.related_object(),
    "the event names no related object; take an `Option<RelatedObject>`"
);
impl_optional!(
    Recency, Some(Kind::Snapshot), event => Recency::from_event(event),
    "the recency of the object is unknown, because the event has no `created` or is a thin event; \
     take an `Option<Recency>`"
);
