use router_core::{
    Event, FromEvent, Rejection, StripeObject,
    extract::{ObjectArgument, OptionalFromEvent},
    on_event,
};

#[derive(serde::Deserialize, StripeObject)]
#[stripe(object = "invoice")]
struct Invoice {}

/// Like `router_stripe::Fetched`.
struct Fetched<T>(T);

impl<T> ObjectArgument for Fetched<T> {
    type Decoded = T;
    const CHECKS_THIN_EVENTS: bool = true;
}

impl<T: Send> FromEvent for Fetched<T> {
    type Needs = ();

    async fn from_event(_: &Event, (): ()) -> Result<Self, Rejection> {
        Err(Rejection::permanent("nothing is fetched"))
    }
}

impl<T: Send> OptionalFromEvent for Fetched<T> {
    type Needs = ();

    async fn from_event(_: &Event, (): ()) -> Result<Option<Self>, Rejection> {
        Ok(None)
    }
}

#[on_event("v1.invoice.paid", "invoice.paid")]
async fn right(_: Fetched<Invoice>) {}

#[on_event("v1.customer.created")]
async fn thin(_: Fetched<Invoice>) {}

#[on_event("customer.created")]
async fn snapshot(_: Option<Fetched<Invoice>>) {}

#[on_event("customer.deleted")]
async fn result(_: Result<Fetched<Invoice>, Rejection>) {}

fn main() {}
