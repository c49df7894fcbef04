//! Events as Stripe sends them reach the handlers that they are for.

use handlers::payments::{payment_method_attached, payment_succeeded};
use router_core::{
    Router,
    testing::{SyntheticEvent, TestRouter},
};

#[tokio::test]
async fn a_payment_and_a_payment_method_are_logged() {
    let router = Router::builder().only::<payment_succeeded>().only::<payment_method_attached>();
    let shop = TestRouter::new(router).unwrap();
    for (event_type, handler) in [
        ("payment_intent.succeeded", "payments.succeeded"),
        ("payment_method.attached", "payments.method_attached"),
    ] {
        let answer = shop.deliver(SyntheticEvent::new(event_type)).await;
        assert!(answer.handler(handler).is_done(), "{answer:?}");
    }
}

#[tokio::test]
async fn an_object_that_is_none_is_a_dead_letter() {
    let shop = TestRouter::new(Router::builder().plugins([handlers::PLUGIN])).unwrap();
    let event = SyntheticEvent::new("payment_intent.succeeded").set("amount", "a lot");
    let answer = shop.deliver(event).await;
    // Sending it again would not help.
    assert_eq!(answer.status(), 200);
    let handler = answer.handler("payments.succeeded");
    assert_eq!(handler.outcome(), "dead");
    let said = handler.result().unwrap_err().to_string();
    assert!(said.starts_with("`data.object` does not decode at `amount`"), "{said}");
}
