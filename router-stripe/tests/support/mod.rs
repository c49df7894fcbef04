//! A stub, and a client whose retries wait for no real time.

mod clock;

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::ManualClock,
};
use router_stripe::{Client, testing::StubStripe};
use serde_json::json;

pub(crate) use self::clock::advance;

/// The path of an object in the stub.
pub(crate) const INVOICE: &str = "/v1/invoices/in_1";

pub(crate) async fn stub() -> StubStripe {
    let stripe = StubStripe::start().await.expect("a port is free");
    stripe.set_object(INVOICE, json!({"id": "in_1", "status": "paid"}));
    stripe
}

/// Returns a client whose waits are over as soon as a test moves the clock.
pub(crate) fn client_with_clock(stripe: &StubStripe) -> (Client, ManualClock) {
    let clock = ManualClock::at(SystemClock.wall());
    let client = stripe.client_builder().clock(clock.clone()).build().expect("settings are valid");
    (client, clock)
}
