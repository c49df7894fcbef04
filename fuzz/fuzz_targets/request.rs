//! Sends arbitrary requests to a whole endpoint.

#![no_main]

use arbitrary::Arbitrary;
use http::Method;
use libfuzzer_sys::fuzz_target;
use router_tests::{
    invariant::{Ending, RawRequest, check_request},
    signature,
};

#[derive(Debug, Arbitrary)]
struct Input<'i> {
    is_post: bool,
    ending: BodyEnd,
    /// `true` to send a valid signature first; the fuzzer cannot guess a MAC.
    is_signed: bool,
    signatures: Vec<&'i [u8]>,
    /// The size of the body's chunks, minus one.
    chunk_size: u8,
    /// The body is `inserted`, inserted into a valid event at `offset`, because the fuzzer rarely
    /// guesses a valid event.
    base: Base,
    offset: u16,
    inserted: &'i [u8],
}

#[derive(Debug, Arbitrary)]
enum BodyEnd {
    Whole,
    Broken,
    Stalled,
}

#[derive(Debug, Arbitrary)]
enum Base {
    Nothing,
    Minimal,
    Snapshot,
    Thin,
}

impl Base {
    fn text(&self) -> &'static [u8] {
        match self {
            Self::Nothing => b"",
            Self::Minimal => include_bytes!("../seeds/envelope/minimal.json"),
            Self::Snapshot => include_bytes!("../seeds/envelope/snapshot.json"),
            Self::Thin => include_bytes!("../seeds/envelope/thin.json"),
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let mut body = input.base.text().to_vec();
    let offset = usize::from(input.offset) % (body.len() + 1);
    body.splice(offset..offset, input.inserted.iter().copied());
    let valid = input.is_signed.then(|| signature(&body).into_bytes());
    let others = input.signatures.into_iter().map(<[u8]>::to_vec);
    check_request(&RawRequest {
        method: if input.is_post { Method::POST } else { Method::GET },
        signatures: valid.into_iter().chain(others).collect(),
        pieces: body.chunks(usize::from(input.chunk_size) + 1).map(<[u8]>::to_vec).collect(),
        ending: match input.ending {
            BodyEnd::Whole => Ending::Whole,
            BodyEnd::Broken => Ending::Broken,
            BodyEnd::Stalled => Ending::Stalled,
        },
    });
});
