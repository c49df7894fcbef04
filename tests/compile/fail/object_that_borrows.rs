use router_core::{Object, on_event};
use serde::Deserialize;

#[derive(Deserialize)]
struct PaymentIntent<'a> {
    id: &'a str,
}

#[on_event("payment_intent.succeeded")]
async fn fulfil(intent: Object<PaymentIntent<'_>>) {
    println!("{}", intent.id);
}

fn main() {}
