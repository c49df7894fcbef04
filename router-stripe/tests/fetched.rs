//! Handlers that take the object as it is now.

mod support;

use router_core::{
    Event, Router, StripeObject,
    build::RouterBuilder,
    on_event,
    testing::{SyntheticEvent, TestResponse, TestRouter},
};
use router_stripe::{
    Fetched,
    testing::{Fault, StubStripe},
};
use serde_json::json;
use support::{advance, client_with_clock, stub};

#[derive(Debug, serde::Deserialize, StripeObject)]
#[stripe(object = "invoice")]
struct Invoice {
    id: String,
    amount_paid: i64,
}

#[on_event("v1.invoice.paid", name = "orders.fulfil")]
async fn fulfil(invoice: Fetched<Invoice>, event: Event) -> Result<(), String> {
    let related = event.related_object().ok_or("a thin event names its object")?;
    assert_eq!(Some(&*invoice.id), related.id());
    if invoice.amount_paid == 500 { Ok(()) } else { Err(format!("paid {}", invoice.amount_paid)) }
}

#[on_event("v1.invoice.paid", name = "mail.thank")]
async fn thank(invoice: Fetched<Invoice>, again: Option<Fetched<Invoice>>) {
    assert_eq!(Some(invoice.amount_paid), again.map(|invoice| invoice.amount_paid));
}

#[on_event("customer.updated", name = "crm.update")]
async fn update(customer: Option<Fetched<serde_json::Value>>) -> Result<(), String> {
    match customer {
        Some(customer) if customer["name"] == "New" => Ok(()),
        Some(_) => Err("the customer is not the one at Stripe".to_owned()),
        None => Err("deleted".to_owned()),
    }
}

/// Delivers an event to a router with a client of the stub, whose retries wait for no real time.
async fn deliver(
    stripe: &StubStripe,
    router: RouterBuilder,
    event: SyntheticEvent,
) -> TestResponse {
    let (client, clock) = client_with_clock(stripe);
    let router = TestRouter::new(router.state(client)).expect("router is valid");
    advance(&clock, router.deliver(event)).await
}

fn paid() -> SyntheticEvent {
    SyntheticEvent::new("v1.invoice.paid").account("acct_1")
}

/// Puts the invoice of a thin event into the stub.
fn put_invoice(stripe: &StubStripe, event: &SyntheticEvent, amount_paid: i64) -> String {
    let event = event.clone().build().expect("event is valid");
    let related = event.event().related_object().expect("a thin event names its object");
    let (id, url) = (related.id().expect("id"), related.url().expect("URL").to_owned());
    stripe.set_object_of("acct_1", &url, json!({"id": id, "amount_paid": amount_paid}));
    url
}

#[tokio::test]
async fn thin_event_fetches_its_object_once_in_its_context() {
    let stripe = stub().await;
    let event = paid().seed(1);
    let url = put_invoice(&stripe, &event, 500);
    let router = Router::builder().only::<fulfil>().only::<thank>();
    let answer = deliver(&stripe, router, event).await;
    assert!(answer.handler("orders.fulfil").is_done(), "{answer:?}");
    assert!(answer.handler("mail.thank").is_done(), "{answer:?}");
    let requests = stripe.requests();
    let [request] = &requests[..] else { panic!("expected one request: {requests:?}") };
    assert_eq!((&*request.path, request.header("stripe-context")), (&*url, Some("acct_1")));
    assert_eq!(request.header("stripe-account"), None);
}

#[tokio::test]
async fn snapshot_event_fetches_the_newest_state_in_its_account() {
    let stripe = stub().await;
    let event = SyntheticEvent::new("customer.updated").set("id", "cus_1").set("name", "Old");
    stripe.set_object_of("acct_1", "/v1/customers/cus_1", json!({"id": "cus_1", "name": "New"}));
    let answer =
        deliver(&stripe, Router::builder().only::<update>(), event.account("acct_1")).await;
    assert!(answer.handler("crm.update").is_done(), "{answer:?}");
    assert_eq!(stripe.requests()[0].header("stripe-account"), Some("acct_1"));
}

#[tokio::test]
async fn unavailable_stripe_is_retried_and_then_fails_transiently() {
    let stripe = stub().await;
    let event = paid().seed(2);
    put_invoice(&stripe, &event, 500);
    stripe.fault(Fault::status(500));
    stripe.fault(Fault::status(500));
    let router = || Router::builder().only::<fulfil>();
    let answer = deliver(&stripe, router(), event.clone()).await;
    assert!(answer.handler("orders.fulfil").is_done(), "{answer:?}");
    assert_eq!(stripe.requests().len(), 3);

    stripe.fault(Fault::rate_limited(120));
    let answer = deliver(&stripe, router(), event).await;
    let outcome = answer.handler("orders.fulfil");
    let failure = outcome.result().expect_err("Stripe is unavailable");
    assert!(!failure.is_permanent(), "{failure}");
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.response().headers()["retry-after"], "120");
}

#[tokio::test]
async fn deleted_object_is_permanent_or_none() {
    let stripe = stub().await;
    let answer = deliver(&stripe, Router::builder().only::<fulfil>(), paid().seed(3)).await;
    let failure = answer.handler("orders.fulfil").result().expect_err("there is no object");
    assert!(failure.is_permanent(), "{failure}");
    insta::assert_snapshot!(failure, @"cannot extract the argument `Fetched<Invoice>`: the object was deleted at Stripe, or is not in the event's account: GET /v1/invoices/in_1Yh0XM6WRYwMYXmiCiKZ5h3o failed (404, resource_missing): No such object: '/v1/invoices/in_1Yh0XM6WRYwMYXmiCiKZ5h3o' [req_1]");

    let event = SyntheticEvent::new("customer.updated").set("id", "cus_1");
    let deleted = |answer: &TestResponse| {
        let failure = answer.handler("crm.update").result().expect_err("the customer was deleted");
        failure.error().to_string()
    };
    let router = || Router::builder().only::<update>();
    assert_eq!(deleted(&deliver(&stripe, router(), event.clone()).await), "deleted");
    // Stripe returns a remainder of a deleted customer.
    stripe.set_object("/v1/customers/cus_1", json!({"id": "cus_1", "deleted": true}));
    assert_eq!(deleted(&deliver(&stripe, router(), event).await), "deleted");
}

#[tokio::test]
async fn missing_permission_is_permanent_and_named() {
    let stripe = stub().await;
    stripe.fault(Fault::error(403, "The key rk_test_stub lacks `rak_invoice_read`."));
    let answer = deliver(&stripe, Router::builder().only::<fulfil>(), paid().seed(4)).await;
    let failure = answer.handler("orders.fulfil").result().expect_err("the permission is missing");
    assert!(failure.is_permanent(), "{failure}");
    insta::assert_snapshot!(failure, @"cannot extract the argument `Fetched<Invoice>`: GET /v1/invoices/in_1bu0j81ttzwagdKZfMHL4G21 failed (403): The key [API key] lacks `rak_invoice_read`; add the permission to the restricted key in Stripe's dashboard [req_1]");
}

#[tokio::test]
async fn object_of_another_form_is_permanent_without_values() {
    let stripe = stub().await;
    let event = paid().seed(5);
    let url = put_invoice(&stripe, &event, 500);
    stripe.set_object_of("acct_1", &url, json!({"id": "in_1", "amount_paid": "jane@example.com"}));
    let answer = deliver(&stripe, Router::builder().only::<fulfil>(), event).await;
    let failure = answer.handler("orders.fulfil").result().expect_err("the object does not decode");
    assert!(failure.is_permanent(), "{failure}");
    insta::assert_snapshot!(failure, @"cannot extract the argument `Fetched<Invoice>`: `fetched object` does not decode at `amount_paid`: invalid type: string, expected i64");
}

#[test]
fn missing_client_is_a_build_error() {
    let error = Router::builder().only::<fulfil>().build().expect_err("there is no client");
    insta::assert_snapshot!(error, @r"
    the router cannot be built: 1 problem
      1. these handlers need a state of type `router_stripe::client::Client`, which was not added
           router-stripe/tests/fetched.rs:25  `orders.fulfil`  on v1.invoice.paid
         help: call `.state(...)` before `.build()`
    ");
}
