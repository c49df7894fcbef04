//! Calls the endpoint in process, for whatever counts or draws what a program does:
//! `calls field|event|mac BYTES EVENTS CALLS` makes so many signed events and calls it for so many of them, so
//! that the difference of two runs with as many events is the calls alone. `mac` makes only the MAC.

use std::{env, error::Error, hint::black_box};

use hmac::{Hmac, KeyInit as _, Mac as _};
use router_performance::{
    SECRET, endpoint, reads_a_field, requests, runtime, signed, takes_the_event,
};
use sha2::Sha256;
use tower::ServiceExt as _;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [what, bytes, events, calls] = &arguments[..] else {
        return Err("usage: calls field|event|mac BYTES EVENTS CALLS".into());
    };
    let (bytes, events, calls): (_, usize, usize) =
        (bytes.parse()?, events.parse()?, calls.parse()?);
    let router = match what.as_str() {
        "field" => reads_a_field(),
        "event" => takes_the_event(),
        "mac" => {
            let key = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
            let mut next = signed(bytes);
            let bodies: Vec<_> = (0..events).map(|_| next().1).collect();
            for body in bodies.iter().take(calls) {
                let mut mac = key.clone();
                mac.update(b"1700000000");
                mac.update(b".");
                mac.update(body);
                black_box(mac.finalize());
            }
            return Ok(());
        }
        other => return Err(format!("no such call: {other}").into()),
    };
    let mut next = requests(bytes);
    let requests: Vec<_> = (0..events).map(|_| next()).collect();
    let endpoint = endpoint(router);
    runtime()?.block_on(async {
        for request in requests.into_iter().take(calls) {
            let response = endpoint.clone().oneshot(request).await?;
            assert_eq!(response.status(), 200);
        }
        Ok(())
    })
}
