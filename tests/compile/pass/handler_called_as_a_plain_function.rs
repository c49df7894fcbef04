#![deny(warnings)]

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use router_core::{Object, Outcome, on_event};

#[derive(serde::Deserialize)]
struct Charge {
    amount: i64,
}

#[on_event("charge.refunded")]
async fn refunded(charge: Object<Charge>) -> Outcome {
    if charge.amount == 0 { Outcome::ignored("nothing to pay back") } else { Outcome::Done }
}

#[on_event("charge.captured")]
fn captured(Object(charge): Object<Charge>) -> Result<(), String> {
    (charge.amount > 0).then_some(()).ok_or_else(|| "nothing captured".to_owned())
}

fn main() {
    let call = pin!(refunded(Object(Charge { amount: 0 })));
    let outcome = call.poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(outcome, Poll::Ready(Outcome::ignored("nothing to pay back")));

    let plain: fn(Object<Charge>) -> Result<(), String> = captured;
    assert_eq!(plain(Object(Charge { amount: 0 })), Err("nothing captured".to_owned()));
}
