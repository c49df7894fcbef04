//! What is so of every request and of every body, whatever was sent. Property tests and fuzz targets
//! ask the same questions, and here they stand once.

mod body;
mod request;

use std::{borrow::Cow, str};

use router_core::{
    Tolerance,
    signature::{sign, verify},
};

use crate::{NOW, now, secret};

pub use self::{
    body::body_is_read_as_serde_json_reads_it,
    request::{Ending, Sent, request_is_answered_by_the_rules},
};

/// A header proves a body if, and only if, a slow and simple reading of the rules says so.
pub fn header_is_judged_by_the_rules(header: &[u8], body: &[u8]) {
    let verified =
        verify(Some(header), body.to_vec().into(), &secret().into(), Tolerance::default(), now());
    let proven = is_proven(header, body);
    assert_eq!(verified.is_ok(), proven, "{}: {verified:?}", shown(header));
}

/// Whether this `Stripe-Signature` header proves this body: it has one `t`, which is a number of
/// seconds before the year 10000 and at most 300 s ago, and a `v1` that is what we would write.
fn is_proven(header: &[u8], body: &[u8]) -> bool {
    let values = |scheme: &'static [u8]| {
        let items = header.split(|byte| *byte == b',');
        items.filter_map(move |item| item.trim_ascii().strip_prefix(scheme))
    };
    let [timestamp] = values(b"t=").collect::<Vec<_>>()[..] else { return false };
    let Some(timestamp) = seconds(timestamp) else { return false };
    let signed = sign(&secret(), timestamp, body);
    timestamp <= 253_402_300_799
        && NOW.saturating_sub(timestamp) <= 300
        && values(b"v1=").any(|mac| signed.ends_with(&format!("v1={}", shown(mac))))
}

fn seconds(digits: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(digits).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    // Only digits are left, so what does not parse is too large.
    is_number.then(|| format!("0{}", digits.trim_start_matches('0')).parse().ok())?
}

fn shown(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
