use router_core::StripeObject;

#[derive(StripeObject)]
struct WithoutAName {}

#[derive(StripeObject)]
#[stripe(object = "payment_intents")]
struct WithATypo {}

#[derive(StripeObject)]
#[stripe(name = "payment_intent")]
struct WithAnotherKey {}

#[derive(StripeObject)]
#[stripe(object = "card", object = "bank_account")]
struct WithTwoObjects {}

#[derive(StripeObject)]
#[stripe(object = "card")]
#[stripe(object = "bank_account")]
struct WithTwoAttributes {}

#[derive(StripeObject)]
#[stripe(object = "newer", unlisted, unlisted)]
struct WithTwoFlags {}

#[derive(StripeObject)]
#[stripe(object = "card", crate = router_core, crate = ::router_core)]
struct WithTwoCrates {}

fn main() {}
