//! Compares the parser with serde_json on arbitrary bodies.

#![no_main]

use libfuzzer_sys::fuzz_target;
use router_tests::invariant::check_body_against_serde_json;

fuzz_target!(|body: &[u8]| check_body_against_serde_json(body));
