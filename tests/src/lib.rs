//! Helpers that the tests share: a fixed secret and time, signed events, and the properties that
//! hold for every input.

#![expect(clippy::missing_panics_doc, reason = "a test helper panics if its setup fails")]

pub mod bomb;
#[cfg(doctest)]
mod documents;
pub mod exchange;
pub mod held;
pub mod invariant;
pub mod logged;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use router_core::{
    Event, SigningSecret,
    event::EnvelopeError,
    signature::{Tolerance, sign, verify},
};

/// The text of [`secret`].
pub const SECRET: &str = "whsec_of_the_tests";

/// The current time in every test, in seconds since the Unix epoch.
pub const NOW: u64 = 1_700_000_000;

/// Returns the signing secret of the tests.
#[must_use]
pub fn secret() -> SigningSecret {
    SigningSecret::new(SECRET).expect("the test secret is valid")
}

/// Returns [`NOW`] as a system time.
#[must_use]
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

/// Returns the `Stripe-Signature` header of this body, signed at [`NOW`].
#[must_use]
pub fn signature(body: &[u8]) -> String {
    sign(&secret(), NOW, body)
}

/// Signs, verifies and parses this body.
///
/// # Errors
///
/// Fails if the body is not an event.
pub fn event(body: impl Into<Bytes>) -> Result<Event, EnvelopeError> {
    let body = body.into();
    let header = signature(&body);
    let verified =
        verify(Some(header.as_bytes()), body, &secret().into(), Tolerance::default(), now());
    Event::parse(verified.expect("the signature was made with the same secret and time"))
}

/// Returns a small snapshot event of this type.
#[must_use]
pub fn payload(event_type: &str) -> String {
    format!(
        r#"{{"id":"evt_1","object":"event","type":"{event_type}","created":{NOW},"livemode":false,"data":{{"object":{{"id":"obj_1","object":"thing","amount":2000,"currency":"usd"}}}}}}"#
    )
}

/// Returns a small snapshot event with this id and type.
///
/// Events with the same id are duplicates and are handled once, so a test of several events needs
/// several ids.
#[must_use]
pub fn payload_with_id(id: &str, event_type: &str) -> String {
    payload(event_type).replacen("evt_1", id, 1)
}
