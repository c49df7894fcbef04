//! Delivers sample events to the handlers through a test router, and through a test inbox.

use handlers::payments::{payment_method_attached, payment_succeeded};
use router_core::{
    Router,
    testing::{SyntheticEvent, TestRouter},
};
use router_inbox::testing::TestInbox;

#[tokio::test]
async fn events_reach_their_handlers() {
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
async fn malformed_object_becomes_dead_letter() {
    let shop = TestRouter::new(Router::builder().plugins([handlers::PLUGIN])).unwrap();
    let event = SyntheticEvent::new("payment_intent.succeeded").set("amount", "a lot");
    let answer = shop.deliver(event).await;
    // Permanent: a redelivery would fail the same way.
    assert_eq!(answer.status(), 200);
    let handler = answer.handler("payments.succeeded");
    assert_eq!(handler.outcome(), "dead");
    let error = handler.result().unwrap_err().to_string();
    assert!(error.contains(": `data.object` does not decode at `amount`"), "{error}");
}

#[tokio::test]
async fn dead_letter_starts_over_if_event_is_resent() {
    let inbox = TestInbox::new(Router::builder().plugins([handlers::PLUGIN])).await.unwrap();
    let event = || SyntheticEvent::new("payment_intent.succeeded").id("evt_1");
    assert_eq!(inbox.deliver(event().set("amount", "a lot")).await.outcome(), "stored");
    inbox.run_until_idle().await;
    // Stripe resends the event, now with an object that decodes.
    assert_eq!(inbox.deliver(event()).await.outcome(), "redelivered");
    inbox.run_until_idle().await;
    assert_eq!(inbox.outcomes("payments.succeeded"), ["dead", "done"]);
}
