//! All keys, and arguments for all kinds of events, with warnings denied.

#![deny(warnings)]

use router_core::{
    Failure, Object, Outcome, Router, State, StripeObject, event::RelatedObject, event_type,
    extract::EventType, on_event, on_unhandled,
};
use serde::Deserialize;

#[derive(Deserialize, StripeObject)]
#[stripe(object = "subscription")]
struct Subscription<T> {
    id: T,
}

/// The object of events that can carry several objects.
#[derive(Deserialize)]
#[serde(tag = "object", rename_all = "snake_case")]
enum ExternalAccount {
    BankAccount {},
    Card {},
}

#[derive(Deserialize, StripeObject)]
#[stripe(object = "coffee", unlisted, crate = ::router_core)]
struct Coffee {}

const ALSO: &str = "customer.subscription.deleted";

#[on_event(
    event_type::customer::subscription::CREATED,
    self::ALSO,
    ALSO,
    "customer.subscription.paused",
    name = "subscriptions",
    endpoint = "connect",
    livemode = false,
    order = -3,
    timeout = "1m 30s",
    crate = router_core
)]
async fn every_key(subscription: Object<Subscription<String>>) -> Outcome {
    Outcome::ignored(subscription.0.id)
}

#[on_event("invoice.paid", blocking, observer)]
fn may_block(name: State<str>) -> Result<(), Failure> {
    Err(Failure::permanent(&*name))
}

#[on_event("account.external_account.created")]
async fn one_of_several(account: Object<ExternalAccount>) {
    match account.0 {
        ExternalAccount::BankAccount {} | ExternalAccount::Card {} => {}
    }
}

#[on_event("coffee.made", unlisted)]
async fn newer_than_the_catalog(_: Object<Coffee>, _: RelatedObject) {}

#[on_event("*", name = "all")]
async fn both_kinds(_: Option<Object<serde::de::IgnoredAny>>, _: Option<RelatedObject>) {}

#[on_event("v2.core.account[identity].updated")]
async fn thin(_: RelatedObject) {}

#[on_unhandled(name = "rest", timeout = "5s", blocking)]
fn the_rest(_: EventType) {}

fn main() {
    let router = Router::builder().without::<both_kinds>().shared_state::<str>("a".into());
    assert_eq!(router.build().unwrap().routes().iter().count(), 9);
}
