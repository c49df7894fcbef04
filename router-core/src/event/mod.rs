//! Authentic events: the raw payload of each, and the positions of its fields in the payload.

mod api_version;
mod authenticated;
mod decode;
mod envelope;
mod error;
mod key;
mod object_id;
mod recency;
mod scanner;
mod stored;
mod test_id;
mod wrapped;

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use bytestring::ByteString;
use http::Extensions;
pub use router_catalog::Kind;
use serde::Deserialize;

pub(crate) use self::api_version::{ApiVersion, SeenVersions};
pub use self::{
    authenticated::AlreadyAuthenticated,
    decode::{DecodeError, decode_json},
    error::{EnvelopeError, EnvelopeProblem, JsonType, SourceError},
    key::EventKey,
    object_id::{ObjectId, RelatedObject},
    recency::Recency,
    stored::StoredEvent,
    wrapped::{TextProblem, WrapError, Wrapper},
};
use self::{
    decode::decode,
    envelope::{Envelope, Text},
    error::Fault,
};
use crate::signature::{EndpointName, EndpointNames, VerifiedPayload};

/// An authentic event, snapshot or thin. Cheap to clone: clones share the payload, and the getters
/// borrow from it.
///
/// A field that Stripe omitted or sent as null is `None`.
#[derive(Clone)]
pub struct Event(Arc<Inner>);

struct Inner {
    payload: ByteString,
    envelope: Envelope,
    endpoint: EndpointName,
    signed_at: Option<SystemTime>,
    /// 0 for an event as Stripe sent it; each replay from a store has the next number.
    generation: u32,
    /// See [`StoredEvent::serial`].
    serial: Option<u64>,
    /// The result of [`Event::object_id`], which each `exclusive` or `ordered` handler needs.
    object_id: OnceLock<Option<ObjectId>>,
    /// See [`Event::extension`].
    extensions: Mutex<Extensions>,
}

/// The facts about an event that are not in its payload.
pub(crate) struct Receipt {
    pub(crate) endpoints: EndpointNames,
    pub(crate) signed_at: Option<SystemTime>,
    pub(crate) generation: u32,
    pub(crate) serial: Option<u64>,
}

impl Receipt {
    /// Returns the facts about an event as Stripe sent it.
    pub(crate) fn new(endpoints: impl Into<EndpointNames>, signed_at: Option<SystemTime>) -> Self {
        Self { endpoints: endpoints.into(), signed_at, generation: 0, serial: None }
    }
}

impl Event {
    /// Reads the envelope of a verified payload. Unknown event types and unknown fields are
    /// accepted, and `data.object` is not decoded.
    ///
    /// If the payload was signed with a secret [of two
    /// endpoints](crate::SigningSecret::connect_named), the event belongs to the second one if it
    /// names a connected account: in its `account`, or, if it is thin, at the end of its `context`.
    ///
    /// # Errors
    ///
    /// Fails if the payload is not an event. [`EnvelopeError`] describes the problem, with its line
    /// and column.
    pub fn parse(verified: VerifiedPayload) -> Result<Self, EnvelopeError> {
        let (body, endpoints, signed_at) = verified.into_parts();
        Self::from_payload(body, Receipt::new(endpoints, Some(signed_at)))
    }

    pub(crate) fn from_payload(body: Bytes, receipt: Receipt) -> Result<Self, EnvelopeError> {
        Self::from_text(Self::text_of(&body)?, receipt)
    }

    /// Returns the payload as text, which shares the bytes.
    fn text_of(body: &Bytes) -> Result<ByteString, EnvelopeError> {
        ByteString::try_from(body.clone())
            .map_err(|error| EnvelopeError::locate(body, Fault::not_utf8(error)))
    }

    fn from_text(payload: ByteString, receipt: Receipt) -> Result<Self, EnvelopeError> {
        let envelope = Envelope::parse(&payload)
            .map_err(|fault| EnvelopeError::locate(payload.as_bytes(), fault))?;
        let Receipt { endpoints, signed_at, generation, serial } = receipt;
        let endpoint = endpoints.of(envelope.owner_account(&payload)).clone();
        let has_test_id = test_id::is_test_id(envelope.id.as_str(&payload));
        let serial = if has_test_id { serial.or_else(test_id::new_serial) } else { None };
        let (object_id, extensions) = (OnceLock::new(), Mutex::default());
        Ok(Self(Arc::new(Inner {
            payload,
            envelope,
            endpoint,
            signed_at,
            generation,
            serial,
            object_id,
            extensions,
        })))
    }

    /// Returns the event's id, `evt_…`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text(&self.0.envelope.id)
    }

    /// Returns the event's type, such as `payment_intent.succeeded`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.text(&self.0.envelope.event_type)
    }

    /// Returns the id of the snapshot event that reports the same change as this thin event.
    ///
    /// While a Stripe account [moves from snapshot to thin events][move], both are sent. Their
    /// [keys](Self::key) are equal, so a handler of both types runs once for the pair.
    ///
    /// [move]: https://docs.stripe.com/webhooks/migrate-snapshot-to-thin-events
    #[must_use]
    pub fn snapshot_event(&self) -> Option<&str> {
        self.optional(&self.0.envelope.snapshot_event).filter(|_| self.is_thin())
    }

    /// Returns whether the event has the fixed id that Stripe gives to test events
    /// (`evt_00000000000000`). Such an event is never a duplicate of another. An
    /// [`Endpoint`](crate::Endpoint) logs the first one at INFO.
    #[must_use]
    pub fn has_test_id(&self) -> bool {
        self.0.serial.is_some()
    }

    /// Returns whether both events are written in the same form: in the same API version, and both
    /// as snapshot events or both as thin events.
    ///
    /// Of two copies of an event in different forms, a handler may be able to decode only one.
    #[must_use]
    pub fn has_same_form(&self, other: &Self) -> bool {
        self.is_thin() == other.is_thin() && self.api_version() == other.api_version()
    }

    /// Returns whether this is a thin event (`"object": "v2.core.event"`), which only names its
    /// object.
    #[must_use]
    pub fn is_thin(&self) -> bool {
        self.0.envelope.thin
    }

    /// Returns the time at which Stripe created the event.
    ///
    /// The time is not unique, and events are not delivered in its order, so never order or
    /// deduplicate events by it. [`Recency`] compares two events of one object.
    #[must_use]
    pub fn created(&self) -> Option<SystemTime> {
        self.0.envelope.created
    }

    /// Returns whether the event is in live mode, and so about real money.
    #[must_use]
    pub fn livemode(&self) -> Option<bool> {
        self.0.envelope.livemode
    }

    /// Returns the API version that `data.object` follows, such as `2026-10-28.endive`, as Stripe
    /// sent it. Flags may follow it, as in `2026-10-28.endive;managed_payments_preview=v1`.
    #[must_use]
    pub fn api_version(&self) -> Option<&str> {
        self.optional(&self.0.envelope.api_version)
    }

    /// Returns the id of the connected account that the event is about, `acct_…`.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.optional(&self.0.envelope.account)
    }

    /// Returns the context in which the object can be fetched. Events of an organization and thin
    /// events have one.
    #[must_use]
    pub fn context(&self) -> Option<&str> {
        self.optional(&self.0.envelope.context)
    }

    /// Returns the account that owns the object, if the event names one.
    pub(crate) fn owner_account(&self) -> Option<&str> {
        self.0.envelope.owner_account(&self.0.payload)
    }

    /// Returns the id of the API request that caused the event, `req_…`.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.optional(&self.0.envelope.request_id)
    }

    /// Returns the idempotency key of the API request that caused the event.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.optional(&self.0.envelope.idempotency_key)
    }

    /// Returns the number of webhook endpoints that had not yet answered when Stripe sent the
    /// event.
    #[must_use]
    pub fn pending_webhooks(&self) -> Option<u64> {
        self.0.envelope.pending_webhooks
    }

    /// Returns the JSON of `data.object`. Every snapshot event has it, and few thin events do.
    #[must_use]
    pub fn object_json(&self) -> Option<&str> {
        self.0.envelope.object.clone().map(|range| &self.0.payload[range])
    }

    /// Returns the JSON of `data.previous_attributes`: the values of the changed fields before the
    /// update.
    #[must_use]
    pub fn previous_attributes_json(&self) -> Option<&str> {
        self.0.envelope.previous_attributes.clone().map(|range| &self.0.payload[range])
    }

    /// Returns a clone of the event's extension of this type, and adds `T::default()` at the first
    /// call. Clones of the event share the extension. With a type such as `Arc<Mutex<…>>`, an
    /// extractor can cache a value for all handlers of an event.
    ///
    /// An inbox does not store extensions. Each delivery that it claims has an event of its own.
    #[must_use]
    pub fn extension<T: Clone + Default + Send + Sync + 'static>(&self) -> T {
        let mut extensions = self.0.extensions.lock().unwrap_or_else(PoisonError::into_inner);
        extensions.get_or_insert_default::<T>().clone()
    }

    /// Decodes `data.object`, which may borrow from the event.
    ///
    /// # Errors
    ///
    /// - The event has no `data.object`.
    /// - The object does not match `T`. [`DecodeError`] gives the path to the mismatch.
    pub fn decode_object<'e, T: Deserialize<'e>>(&'e self) -> Result<T, DecodeError> {
        decode("data.object", self.object_json())
    }

    /// Decodes `data.previous_attributes`, which may borrow from the event. It contains only the
    /// fields that have changed; see [`Previous`](crate::Previous) for how to tell them from those
    /// that were null.
    ///
    /// # Errors
    ///
    /// - The event has no `data.previous_attributes`, which only `*.updated` events have.
    /// - The attributes do not match `T`. [`DecodeError`] gives the path to the mismatch.
    pub fn decode_previous_attributes<'e, T: Deserialize<'e>>(&'e self) -> Result<T, DecodeError> {
        decode("data.previous_attributes", self.previous_attributes_json())
    }

    /// Returns the whole event as Stripe sent it, byte for byte, or the envelope around [another
    /// provider's webhook](Self::wrapped).
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        self.0.payload.as_bytes()
    }

    /// Returns the payload as text.
    #[must_use]
    pub fn payload_text(&self) -> &str {
        &self.0.payload
    }

    /// Returns the name of the endpoint that received the event: the one whose signing secret
    /// matched (see also [`SigningSecret::connect_named`](crate::SigningSecret::connect_named)), or
    /// the one set for the platform that delivered it (see [`AlreadyAuthenticated::endpoint`]).
    #[must_use]
    pub fn endpoint(&self) -> &EndpointName {
        &self.0.endpoint
    }

    /// Returns the time at which Stripe signed this delivery, to the second. It is `None` for an
    /// event that was not signed but [authenticated by a platform](AlreadyAuthenticated), or
    /// [fetched from Stripe's API](Event::from_stripe_api).
    #[must_use]
    pub fn signed_at(&self) -> Option<SystemTime> {
        self.0.signed_at
    }

    fn envelope(&self) -> &Envelope {
        &self.0.envelope
    }

    /// Returns the event's id, as a part of the payload.
    pub(crate) fn shared_id(&self) -> ByteString {
        self.shared(&self.0.envelope.id)
    }

    /// Returns the event's type, as a part of the payload.
    pub(crate) fn shared_type(&self) -> ByteString {
        self.shared(&self.0.envelope.event_type)
    }

    /// Returns the id of the connected account, as a part of the payload.
    pub(crate) fn shared_account(&self) -> Option<ByteString> {
        self.0.envelope.account.as_ref().map(|text| self.shared(text))
    }

    /// Returns a text without copying it, unless it contained escapes.
    fn shared(&self, text: &Text) -> ByteString {
        match text {
            Text::Plain(range) => self.0.payload.slice_ref(&self.0.payload[range.clone()]),
            Text::Decoded(text) => (&**text).into(),
        }
    }

    fn text<'e>(&'e self, text: &'e Text) -> &'e str {
        text.as_str(&self.0.payload)
    }

    fn optional<'e>(&'e self, text: &'e Option<Text>) -> Option<&'e str> {
        text.as_ref().map(|text| self.text(text))
    }
}

/// Shows the fields that identify the event, and omits its data, which is personal.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id())
            .field("type", &self.event_type())
            .field("endpoint", &self.endpoint().as_str())
            .field("account", &self.account())
            .finish_non_exhaustive()
    }
}
