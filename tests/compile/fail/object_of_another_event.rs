use router_core::{Object, StripeObject, on_event};

#[derive(serde::Deserialize, StripeObject)]
#[stripe(object = "payment_intent")]
struct PaymentIntent {}

#[on_event("payment_intent.succeeded", "invoice.paid")]
async fn exact(_: Object<PaymentIntent>) {}

#[on_event("customer.*")]
async fn by_prefix(_: Option<Object<PaymentIntent>>) {}

fn main() {}
