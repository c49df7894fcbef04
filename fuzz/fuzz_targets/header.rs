//! Verifies arbitrary `Stripe-Signature` headers over arbitrary bodies.

#![no_main]

use libfuzzer_sys::fuzz_target;
use router_tests::{invariant::check_header, signature};

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'i> {
    body: &'i [u8],
    before: &'i [u8],
    /// `true` to insert a valid signature between `before` and `after`; the fuzzer cannot guess a
    /// MAC.
    is_signed: bool,
    after: &'i [u8],
}

fuzz_target!(|input: Input<'_>| {
    let Input { body, before, is_signed, after } = input;
    let valid = if is_signed { signature(body) } else { String::new() };
    check_header(&[before, valid.as_bytes(), after].concat(), body);
});
