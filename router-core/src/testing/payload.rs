//! The payload of an event, and its signature.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Request, header::CONTENT_TYPE};
use http_body_util::Full;

use crate::{
    clock::{Clock as _, SystemClock},
    event::{EnvelopeError, Event},
    signature::{EndpointName, SigningSecret, sign},
};

/// What Stripe would send: the JSON of one event, to be signed. A
/// [`SyntheticEvent`](super::SyntheticEvent) builds one; one that was recorded is read by
/// [`recorded`](Payload::recorded). Sending the same payload again is sending the same event again.
#[derive(Debug, Clone)]
pub struct Payload(Event);

impl Payload {
    /// A payload from a file or a log: what Stripe once sent, to be sent again under a signature of your
    /// own. The `payload` of a line of a [`DeadLetterFile`](crate::DeadLetterFile) is one.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] where an [`Endpoint`](crate::Endpoint) would not take it for an event.
    pub fn recorded(body: impl Into<Bytes>) -> Result<Self, EnvelopeError> {
        Event::of_payload(body.into(), EndpointName::new(EndpointName::DEFAULT), None, 0).map(Self)
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.id()
    }

    /// The event's type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.0.event_type()
    }

    /// The JSON.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        self.0.payload()
    }

    /// The event as a [`Router`](crate::Router) takes it, for a test that has no use for HTTP. Nobody has
    /// signed it, so it has no [`signed_at`](Event::signed_at).
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.0
    }

    /// The `Stripe-Signature` header for it, made now.
    #[must_use]
    pub fn sign(&self, secret: &SigningSecret) -> String {
        self.sign_at(secret, SystemClock.wall())
    }

    /// The `Stripe-Signature` header for it, made at this time.
    #[must_use]
    pub fn sign_at(&self, secret: &SigningSecret, time: SystemTime) -> String {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        sign(secret, seconds, self.body())
    }

    /// The request with which Stripe would send it now: a POST to `/webhook`.
    #[must_use]
    pub fn request(&self, secret: &SigningSecret) -> Request<Full<Bytes>> {
        self.request_at(secret, SystemClock.wall())
    }

    /// The request with which Stripe would send it at this time.
    #[must_use]
    pub fn request_at(&self, secret: &SigningSecret, time: SystemTime) -> Request<Full<Bytes>> {
        signed_request(&self.sign_at(secret, time), self.body().clone())
    }
}

/// A POST to `/webhook` with this signature.
pub(super) fn signed_request(signature: &str, body: Bytes) -> Request<Full<Bytes>> {
    let mut request =
        Request::post("/webhook").body(Full::new(body)).expect("a path is an address");
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    // A signature that no header can hold is as good as none.
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
