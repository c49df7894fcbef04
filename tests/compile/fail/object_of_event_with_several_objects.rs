use router_core::{Object, StripeObject, on_event};

#[derive(serde::Deserialize, StripeObject)]
#[stripe(object = "card")]
struct Card {}

#[derive(serde::Deserialize, StripeObject)]
#[stripe(object = "bank_account")]
enum BankAccountOrCard {}

#[on_event("account.external_account.created")]
async fn added(_: Object<Card>) {}

#[on_event("account.external_account.deleted")]
async fn deleted(_: Object<BankAccountOrCard>) {}

fn main() {}
