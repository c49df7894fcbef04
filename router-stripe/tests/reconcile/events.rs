//! Events in the stub's lists, and a client whose waits are over when the clock is moved.

use std::time::{Duration, SystemTime};

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::ManualClock,
};
use router_stripe::{
    Client,
    testing::{Hold, StubStripe},
};
use serde_json::{Value, json};

pub(crate) use crate::clock::advance;

pub(crate) const V1: &str = "/v1/events";
pub(crate) const V2: &str = "/v2/core/events";

pub(crate) async fn stub() -> StubStripe {
    StubStripe::start().await.expect("a port is free")
}

/// Returns a client that makes no retries, and its clock.
pub(crate) fn client(stripe: &StubStripe) -> (Client, ManualClock) {
    let clock = ManualClock::at(SystemClock.wall());
    let client = stripe.client_builder().clock(clock.clone()).max_attempts(1).build();
    (client.expect("settings are valid"), clock)
}

/// Polls the future until the request has arrived at the stub.
pub(crate) async fn until_held(
    clock: &ManualClock,
    future: &mut (impl Future<Output: std::fmt::Debug> + Unpin),
    hold: &Hold,
) {
    advance(clock, async {
        tokio::select! {
            biased;
            output = future => panic!("the request was not sent: {output:?}"),
            () = hold.arrived() => {}
        }
    })
    .await;
}

/// Returns the time this long ago, in seconds.
pub(crate) fn ago(age: Duration) -> u64 {
    let time = SystemClock.wall() - age;
    time.duration_since(SystemTime::UNIX_EPOCH).expect("time is after 1970").as_secs()
}

/// Returns a snapshot event that Stripe could not deliver.
pub(crate) fn missed(id: &str, created: u64) -> Value {
    json!({
        "id": id, "object": "event", "type": "invoice.paid", "created": created,
        "livemode": false, "delivery_success": false,
        "data": {"object": {"id": format!("in_{id}"), "object": "invoice"}},
    })
}

/// Returns the event with the field `delivery_success`.
pub(crate) fn delivered(mut event: Value) -> Value {
    event["delivery_success"] = true.into();
    event
}

/// Returns a thin event.
pub(crate) fn thin(id: &str, created: u64) -> Value {
    let created = SystemTime::UNIX_EPOCH + Duration::from_secs(created);
    json!({
        "id": id, "object": "v2.core.event", "type": "v1.invoice.paid",
        "created": humantime::format_rfc3339_millis(created).to_string(), "livemode": false,
        "related_object": {"id": format!("in_{id}"), "type": "invoice", "url": "/v1/invoices/in_1"},
    })
}
