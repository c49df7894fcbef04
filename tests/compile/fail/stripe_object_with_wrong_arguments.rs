use router_core::StripeObject;

#[derive(StripeObject)]
struct WithoutAName {}

#[derive(StripeObject)]
#[stripe(object = "payment_intents")]
struct WithATypo {}

#[derive(StripeObject)]
#[stripe(name = "payment_intent")]
struct WithAnotherKey {}

fn main() {}
