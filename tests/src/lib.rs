//! What the tests share: a secret, a time, events signed with the one at the other, and what is so
//! of every input.

#![expect(clippy::missing_panics_doc, reason = "a test that cannot go on panics")]

pub mod invariant;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use router_core::{
    Event, SigningSecret, Tolerance,
    event::EnvelopeError,
    signature::{sign, verify},
};

/// The text of [`secret`].
pub const SECRET: &str = "whsec_of_the_tests";

/// The time at which every test takes place, in seconds since the Unix epoch.
pub const NOW: u64 = 1_700_000_000;

/// The signing secret of the tests.
#[must_use]
pub fn secret() -> SigningSecret {
    SigningSecret::new(SECRET).expect("it is a secret")
}

/// [`NOW`], as a time of day.
#[must_use]
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

/// The value of the `Stripe-Signature` header for this body, signed [`NOW`].
#[must_use]
pub fn signature(body: &[u8]) -> String {
    sign(&secret(), NOW, body)
}

/// The event that an authentic request with this body is.
///
/// # Errors
///
/// [`EnvelopeError`] where the body is no event.
pub fn event(body: impl Into<Bytes>) -> Result<Event, EnvelopeError> {
    let body = body.into();
    let header = signature(&body);
    let verified =
        verify(Some(header.as_bytes()), body, &secret().into(), Tolerance::default(), now());
    Event::parse(verified.expect("it was signed just now"))
}

/// A small snapshot event of this type.
#[must_use]
pub fn payload(event_type: &str) -> String {
    format!(
        r#"{{"id":"evt_1","object":"event","type":"{event_type}","created":{NOW},"livemode":false,"data":{{"object":{{"id":"obj_1","object":"thing","amount":2000,"currency":"usd"}}}}}}"#
    )
}

/// The same with this id: events of one id are one event, and are handled once.
#[must_use]
pub fn payload_of(id: &str, event_type: &str) -> String {
    payload(event_type).replacen("evt_1", id, 1)
}

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The guide's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
struct Guide;
