//! Compares the parser with serde_json on arbitrary bodies.

#![no_main]

use libfuzzer_sys::fuzz_target;
use router_tests::invariant::body_is_read_as_serde_json_reads_it;

fuzz_target!(|body: &[u8]| body_is_read_as_serde_json_reads_it(body));
