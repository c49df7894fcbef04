use router_core::{Object, on_event};

struct PaymentIntent;

#[on_event("payment_intent.succeeded")]
async fn fulfil(_: Object<PaymentIntent>) {}

fn main() {}
