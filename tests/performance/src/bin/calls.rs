//! Calls the endpoint in process, for tools that count instructions or profile a program.
//!
//! `calls field|event|mac BYTES EVENTS CALLS` creates `EVENTS` signed events of about `BYTES` bytes
//! and handles the first `CALLS` of them. The difference between two runs with the same number of
//! events is therefore the cost of the calls alone. The handler decodes a field (`field`) or takes
//! the event (`event`); `mac` only computes the MAC of the body.

use std::{env, error::Error, hint::black_box};

use hmac::{Hmac, KeyInit as _, Mac as _};
use router_performance::{
    SECRET, endpoint, event_router, field_router, requests, runtime, signed_bodies,
};
use sha2::Sha256;
use tower::ServiceExt as _;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, bytes, events, calls] = &arguments[..] else {
        return Err("usage: calls field|event|mac BYTES EVENTS CALLS".into());
    };
    let (bytes, events, calls): (_, usize, usize) =
        (bytes.parse()?, events.parse()?, calls.parse()?);
    let router = match target.as_str() {
        "field" => field_router(),
        "event" => event_router(),
        "mac" => {
            let key = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
            let mut next_body = signed_bodies(bytes);
            let bodies: Vec<_> = (0..events).map(|_| next_body().1).collect();
            for body in bodies.iter().take(calls) {
                let mut mac = key.clone();
                mac.update(b"1700000000");
                mac.update(b".");
                mac.update(body);
                black_box(mac.finalize());
            }
            return Ok(());
        }
        other => return Err(format!("unknown target `{other}`: use field, event or mac").into()),
    };
    let mut next_request = requests(bytes);
    let requests: Vec<_> = (0..events).map(|_| next_request()).collect();
    let endpoint = endpoint(router);
    runtime()?.block_on(async {
        for request in requests.into_iter().take(calls) {
            let response = endpoint.clone().oneshot(request).await?;
            assert_eq!(response.status(), 200);
        }
        Ok(())
    })
}
