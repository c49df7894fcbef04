//! Properties that hold for every header, body and request. Property tests and fuzz targets share
//! them. A violated property panics.

mod body;
mod request;

use std::{borrow::Cow, str};

use router_core::signature::{Tolerance, sign, verify};

use crate::{NOW, now, secret};

pub use self::{
    body::check_body_against_serde_json,
    request::{Ending, RawRequest, check_request},
};

/// Checks that [`verify`] agrees with a slow, simple implementation of the scheme.
pub fn check_header(header: &[u8], body: &[u8]) {
    let verified =
        verify(Some(header), body.to_vec().into(), &secret().into(), Tolerance::default(), now());
    let expected = is_authentic(header, body);
    assert_eq!(verified.is_ok(), expected, "{}: {verified:?}", lossy(header));
}

/// Returns whether this `Stripe-Signature` header authenticates this body.
///
/// The header must have exactly one `t`, in seconds, before the year 10000 and at most 300 s in the
/// past, and at least one `v1` that equals the computed signature.
fn is_authentic(header: &[u8], body: &[u8]) -> bool {
    let values = |scheme: &'static [u8]| {
        let items = header.split(|byte| *byte == b',');
        items.filter_map(move |item| item.trim_ascii().strip_prefix(scheme))
    };
    let [timestamp] = values(b"t=").collect::<Vec<_>>()[..] else { return false };
    let Some(timestamp) = seconds(timestamp) else { return false };
    let signed = sign(&secret(), timestamp, body);
    timestamp <= 253_402_300_799
        && NOW.saturating_sub(timestamp) <= 300
        && values(b"v1=").any(|mac| signed.ends_with(&format!("v1={}", lossy(mac))))
}

fn seconds(digits: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(digits).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    // At this point parsing can fail only if the number is too large.
    is_number.then(|| format!("0{}", digits.trim_start_matches('0')).parse().ok())?
}

fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
