use router_core::{Object, StripeObject, on_event};

#[derive(serde::Deserialize, StripeObject)]
#[stripe(object = "card")]
struct Card {}

#[on_event("account.external_account.created")]
async fn added(_: Object<Card>) {}

fn main() {}
