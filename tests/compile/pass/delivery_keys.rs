//! Keys for stored deliveries and their retries.

use router_core::{Event, IdempotencyKey, Router, extract::PerDelivery, on_event};

#[on_event(
    "customer.subscription.*",
    name = "subscriptions.follow",
    formerly = "shop::subscriptions::follow",
    retry(max_attempts = 5, backoff = "10s", max_backoff = "1h"),
    concurrency = 4,
    ordered
)]
async fn follow(_: Event, _: IdempotencyKey, _: Option<PerDelivery<u8>>) {}

#[on_event("checkout.session.completed", name = "orders.fulfil", answer_after = "10s")]
async fn fulfil(_: Event) {}

#[on_event("customer.subscription.*", name = "subscriptions.mirror", ordered = "newest")]
async fn mirror(_: Event) {}

fn main() {
    Router::builder().build().unwrap();
}
