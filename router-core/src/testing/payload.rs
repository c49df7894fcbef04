//! [`Payload`], the JSON of an event, and its signature.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Request, header::CONTENT_TYPE};

use crate::{
    clock::{Clock as _, SystemClock},
    endpoint::FullBody,
    event::{EnvelopeError, Event, Receipt},
    signature::{EndpointName, SigningSecret, sign},
};

/// The JSON of one event, as Stripe would send it, to be signed by the test.
///
/// It is built by a [`SyntheticEvent`](super::SyntheticEvent), or read from a recording by
/// [`recorded`](Payload::recorded). Delivering a payload twice delivers the same event twice.
#[derive(Debug, Clone)]
pub struct Payload(Event);

impl Payload {
    /// Reads a payload that Stripe once sent, from a file or a log, to send it again with a
    /// signature of your own. An example is the `payload` in a line of a
    /// [`DeadLetterFile`](crate::dead_letters::DeadLetterFile).
    ///
    /// # Errors
    ///
    /// Fails if the body is not an event, for the reasons for which an
    /// [`Endpoint`](crate::Endpoint) would refuse it.
    pub fn recorded(body: impl Into<Bytes>) -> Result<Self, EnvelopeError> {
        Event::from_payload(
            body.into(),
            Receipt::new(EndpointName::new(EndpointName::DEFAULT), None),
        )
        .map(Self)
    }

    /// Returns the event's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.id()
    }

    /// Returns the event's type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.0.event_type()
    }

    /// Returns the JSON.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        self.0.payload()
    }

    /// Returns the event that a [`Router`](crate::Router) takes, for a test without HTTP. The event
    /// is not signed, so it has no [`signed_at`](Event::signed_at).
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.0
    }

    /// Returns the `Stripe-Signature` header for the payload, signed now.
    #[must_use]
    pub fn sign(&self, secret: &SigningSecret) -> String {
        self.sign_at(secret, SystemClock.wall())
    }

    /// Returns the `Stripe-Signature` header for the payload, signed at this time.
    #[must_use]
    pub fn sign_at(&self, secret: &SigningSecret, time: SystemTime) -> String {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        sign(secret, seconds, self.body())
    }

    /// Returns the request that Stripe would send now: a POST to `/webhook`.
    #[must_use]
    pub fn request(&self, secret: &SigningSecret) -> Request<FullBody> {
        self.request_at(secret, SystemClock.wall())
    }

    /// Returns the request that Stripe would send at this time: a POST to `/webhook`.
    #[must_use]
    pub fn request_at(&self, secret: &SigningSecret, time: SystemTime) -> Request<FullBody> {
        signed_request(&self.sign_at(secret, time), self.body().clone())
    }
}

/// Returns a POST to `/webhook` with this signature.
pub(super) fn signed_request(signature: &str, body: Bytes) -> Request<FullBody> {
    let mut request =
        Request::post("/webhook").body(FullBody::from(body)).expect("`/webhook` is a valid URI");
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    // A signature with characters that a header cannot hold is left out, and fails verification.
    if let Ok(signature) = HeaderValue::from_str(signature) {
        headers.insert("stripe-signature", signature);
    }
    request
}

impl From<&Payload> for Payload {
    fn from(payload: &Payload) -> Self {
        payload.clone()
    }
}
