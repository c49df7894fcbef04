//! Any request, to the whole endpoint.

#![no_main]

use arbitrary::Arbitrary;
use http::Method;
use libfuzzer_sys::fuzz_target;
use router_tests::{
    invariant::{Ending, Sent, request_is_answered_by_the_rules},
    signature,
};

#[derive(Debug, Arbitrary)]
struct Input<'i> {
    is_post: bool,
    ending: End,
    /// Whether a good signature comes first: no fuzzer guesses a MAC.
    is_signed: bool,
    signatures: Vec<&'i [u8]>,
    /// How large the pieces are in which the body comes.
    size: u8,
    /// Into what the rest is put, and where: few bodies that are guessed are events.
    base: Base,
    at: u16,
    rest: &'i [u8],
}

#[derive(Debug, Arbitrary)]
enum End {
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
    let at = usize::from(input.at) % (body.len() + 1);
    body.splice(at..at, input.rest.iter().copied());
    let good = input.is_signed.then(|| signature(&body).into_bytes());
    let others = input.signatures.into_iter().map(<[u8]>::to_vec);
    request_is_answered_by_the_rules(&Sent {
        method: if input.is_post { Method::POST } else { Method::GET },
        signatures: good.into_iter().chain(others).collect(),
        pieces: body.chunks(usize::from(input.size) + 1).map(<[u8]>::to_vec).collect(),
        ending: match input.ending {
            End::Whole => Ending::Whole,
            End::Broken => Ending::Broken,
            End::Stalled => Ending::Stalled,
        },
    });
});
