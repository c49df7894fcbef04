//! Any `Stripe-Signature` header over any body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use router_tests::{invariant::header_is_judged_by_the_rules, signature};

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'i> {
    body: &'i [u8],
    before: &'i [u8],
    /// Whether the good header stands in the middle: no fuzzer guesses a MAC.
    signed: bool,
    after: &'i [u8],
}

fuzz_target!(|input: Input<'_>| {
    let Input { body, before, signed, after } = input;
    let good = if signed { signature(body) } else { String::new() };
    header_is_judged_by_the_rules(&[before, good.as_bytes(), after].concat(), body);
});
