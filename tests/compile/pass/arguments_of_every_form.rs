#![deny(warnings)]

use std::collections::BTreeMap;

use router_core::{Event, FromEvent, Object, Rejection, Router, on_event};
use serde::Deserialize;

#[derive(Deserialize)]
struct Intent {
    id: String,
    amount: i64,
}

type Fields = BTreeMap<String, serde::de::IgnoredAny>;

/// A custom extractor.
struct Id(String);

impl FromEvent for Id {
    type Needs = ();

    async fn from_event(event: &Event, (): ()) -> Result<Self, Rejection> {
        Ok(Self(event.id().to_owned()))
    }
}

#[on_event("payment_intent.succeeded")]
async fn no_argument() {}

#[on_event("payment_intent.succeeded")]
async fn unpacked(Object(Intent { id, amount }): Object<Intent>, Id(event): Id) {
    println!("{id} {amount} {event}");
}

#[on_event("payment_intent.succeeded")]
async fn mutable(mut intent: Object<Intent>, mut event: Event) {
    intent.amount += 1;
    event = event.clone();
    println!("{} {} {}", intent.id, intent.amount, event.id());
}

#[on_event("payment_intent.succeeded")]
async fn ignored(_: Event, _intent: Object<Intent>) {}

#[on_event("payment_intent.succeeded")]
async fn twice_the_same(first: Event, second: Event) {
    println!("{} {}", first.id(), second.id());
}

#[on_event("payment_intent.succeeded")]
async fn by_path_and_alias(event: router_core::Event, fields: ::router_core::Object<Fields>) {
    println!("{} {}", event.id(), fields.len());
}

// Names that the expansion could use itself.
#[on_event("payment_intent.succeeded")]
async fn named_as_by_the_macro(event: Event, argument_0: Event, failure: Event) {
    println!("{} {} {}", event.id(), argument_0.id(), failure.id());
}

fn main() {
    assert_eq!(Router::builder().build().unwrap().routes().iter().count(), 7);
}
