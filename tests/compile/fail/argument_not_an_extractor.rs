use router_core::on_event;

struct PaymentIntent;

#[on_event("payment_intent.succeeded")]
async fn fulfil(_: PaymentIntent) {}

fn main() {}
