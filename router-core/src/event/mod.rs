//! One authentic event: its raw bytes, and where things are in them.

mod authenticated;
mod decode;
mod envelope;
mod error;
mod kept;
mod key;
mod object_id;
mod recency;
mod related;
mod scanner;

use std::{fmt, sync::Arc, time::SystemTime};

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;

pub use self::{
    authenticated::AlreadyAuthenticated,
    decode::DecodeError,
    error::{EnvelopeError, EnvelopeProblem, JsonType, SourceError},
    kept::StoredEvent,
    key::EventKey,
    object_id::ObjectId,
    recency::Recency,
    related::RelatedObject,
};
use self::{
    decode::decode,
    envelope::{Envelope, Text},
    scanner::Fault,
};
use crate::signature::{EndpointName, VerifiedPayload};

/// One authentic event, snapshot or thin. Cheap to clone: clones share the payload, and everything
/// that is read from it is borrowed.
///
/// A field that Stripe left out or sent as null is `None`.
#[derive(Clone)]
pub struct Event(Arc<Inner>);

struct Inner {
    payload: ByteString,
    envelope: Envelope,
    endpoint: EndpointName,
    signed_at: Option<SystemTime>,
    generation: u32,
}

impl Event {
    /// Reads the envelope of a verified payload. An event type that nobody knows yet and fields
    /// that nobody knows yet are fine; `data.object` is not looked into.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] says what the payload should be and is not, with line and column.
    pub fn parse(verified: VerifiedPayload) -> Result<Self, EnvelopeError> {
        let (body, endpoint, signed_at) = verified.into_parts();
        Self::of_payload(body, endpoint, Some(signed_at), 0)
    }

    pub(crate) fn of_payload(
        body: Bytes,
        endpoint: EndpointName,
        signed_at: Option<SystemTime>,
        generation: u32,
    ) -> Result<Self, EnvelopeError> {
        let payload = ByteString::try_from(body.clone())
            .map_err(|error| EnvelopeError::locate(&body, Fault::not_utf8(error)))?;
        Self::make(payload, endpoint, signed_at, generation)
    }

    fn make(
        payload: ByteString,
        endpoint: EndpointName,
        signed_at: Option<SystemTime>,
        generation: u32,
    ) -> Result<Self, EnvelopeError> {
        let envelope = Envelope::parse(&payload)
            .map_err(|fault| EnvelopeError::locate(payload.as_bytes(), fault))?;
        Ok(Self(Arc::new(Inner { payload, envelope, endpoint, signed_at, generation })))
    }

    /// The event's id, `evt_…`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text(&self.0.envelope.id)
    }

    /// The event's type, as in `payment_intent.succeeded`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.text(&self.0.envelope.event_type)
    }

    /// What makes it one and the same event when it is delivered again.
    #[must_use]
    pub fn key(&self) -> EventKey {
        EventKey::of(self)
    }

    /// Which object it is about. It looks into `data.object`, so it costs more than what is read
    /// from the envelope.
    #[must_use]
    pub fn object_id(&self) -> ObjectId {
        ObjectId::of(self)
    }

    /// Whether this is a thin event (`"object": "v2.core.event"`), which only names its object.
    #[must_use]
    pub fn is_thin(&self) -> bool {
        self.0.envelope.thin
    }

    /// When Stripe made it. Events are neither delivered in this order nor is it unique: never
    /// order or deduplicate by it. [`Recency`] says what can be said of two events of one object.
    #[must_use]
    pub fn created(&self) -> Option<SystemTime> {
        self.0.envelope.created
    }

    /// Whether it is about real money.
    #[must_use]
    pub fn livemode(&self) -> Option<bool> {
        self.0.envelope.livemode
    }

    /// The API version in which `data.object` is written, as in `2026-10-28.endive`.
    #[must_use]
    pub fn api_version(&self) -> Option<&str> {
        self.optional(&self.0.envelope.api_version)
    }

    /// The connected account that it is about, `acct_…`.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.optional(&self.0.envelope.account)
    }

    /// The context in which the object can be fetched, for an organization's or a thin event.
    #[must_use]
    pub fn context(&self) -> Option<&str> {
        self.optional(&self.0.envelope.context)
    }

    /// The id of the API request that caused it, `req_…`.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.optional(&self.0.envelope.request_id)
    }

    /// The idempotency key of the API request that caused it.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.optional(&self.0.envelope.idempotency_key)
    }

    /// How many webhook endpoints had not yet answered when Stripe sent it.
    #[must_use]
    pub fn pending_webhooks(&self) -> Option<u64> {
        self.0.envelope.pending_webhooks
    }

    /// The JSON of `data.object`. Every snapshot event has it, and hardly any thin event.
    #[must_use]
    pub fn object_json(&self) -> Option<&str> {
        self.0.envelope.object.clone().map(|range| &self.0.payload[range])
    }

    /// The JSON of `data.previous_attributes`: what the changed fields were before an update.
    #[must_use]
    pub fn previous_attributes_json(&self) -> Option<&str> {
        self.0.envelope.previous_attributes.clone().map(|range| &self.0.payload[range])
    }

    /// Decodes `data.object`, which may borrow from the event.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] with the path to what did not fit, and for an event without `data.object`.
    pub fn decode_object<'e, T: Deserialize<'e>>(&'e self) -> Result<T, DecodeError> {
        decode("data.object", self.object_json())
    }

    /// Decodes `data.previous_attributes`, which may borrow from the event. Only what has changed is
    /// there, so the fields of `T` are `Option`s or have defaults.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] with the path to what did not fit, and for an event that has none: only
    /// `*.updated` events do.
    pub fn decode_previous_attributes<'e, T: Deserialize<'e>>(&'e self) -> Result<T, DecodeError> {
        decode("data.previous_attributes", self.previous_attributes_json())
    }

    /// The object that a thin event is about, if it is about one.
    #[must_use]
    pub fn related_object(&self) -> Option<RelatedObject> {
        RelatedObject::of(self)
    }

    /// The whole event as Stripe sent it, byte for byte.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        self.0.payload.as_bytes()
    }

    /// The same as text.
    #[must_use]
    pub fn payload_text(&self) -> &str {
        &self.0.payload
    }

    /// The name of the endpoint through which it came: the one whose secret matched, or the one of the
    /// platform that delivered it (see [`AlreadyAuthenticated::endpoint`]).
    #[must_use]
    pub fn endpoint(&self) -> &EndpointName {
        &self.0.endpoint
    }

    /// When Stripe signed this sending of it, to the second; `None` for one that was not signed but
    /// [authenticated by a platform](AlreadyAuthenticated).
    #[must_use]
    pub fn signed_at(&self) -> Option<SystemTime> {
        self.0.signed_at
    }

    fn envelope(&self) -> &Envelope {
        &self.0.envelope
    }

    fn text<'e>(&'e self, text: &'e Text) -> &'e str {
        text.of(&self.0.payload)
    }

    fn optional<'e>(&'e self, text: &'e Option<Text>) -> Option<&'e str> {
        text.as_ref().map(|text| self.text(text))
    }
}

/// Shows what identifies the event, and none of its data: that is people's names and addresses.
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
