//! What a test sees of a router that stands behind an endpoint as in production.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use router_core::{
    Event, Failure, Refusal, Router, RouterBuilder, SigningSecret,
    signature::SignatureError,
    testing::{Chaos, Payload, SyntheticEvent, TestResponse, TestRouter},
};
use router_tests::{NOW, SECRET, secret, signature};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A router with one handler, which counts, and fails where the amount is 13.
fn counting() -> (RouterBuilder, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    let router =
        Router::builder().handler("orders.fulfil", ["invoice.paid"], move |event: Event| {
            counted.fetch_add(1, SeqCst);
            async move {
                match event.decode_object::<serde_json::Value>()?["amount_paid"].as_i64() {
                    Some(13) => Err(Failure::retry(std::io::Error::other("unlucky"))),
                    _ => Ok(()),
                }
            }
        });
    (router, count)
}

#[tokio::test]
async fn an_answer_says_what_each_handler_made_of_the_event() {
    let shop = TestRouter::new(counting().0).unwrap();
    let answer = shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.handler("orders.fulfil").is_done());
    assert!(answer.refusal().is_none());
    let answer = shop.deliver(SyntheticEvent::new("invoice.paid").set("amount_paid", 13)).await;
    assert_eq!((answer.status(), answer.handler("orders.fulfil").outcome()), (500, "retry"));
    assert_eq!(answer.response().headers()["content-type"], "application/json");
}

#[tokio::test]
async fn the_same_payload_is_the_same_event_until_it_is_forgotten() {
    let (router, count) = counting();
    let shop = TestRouter::new(router).unwrap();
    let payload = SyntheticEvent::new("invoice.paid").build().unwrap();
    for (later, runs) in [(0, 1), (0, 1), (71, 1), (2, 2)] {
        shop.clock().advance(HOUR * later);
        assert_eq!(shop.deliver(&payload).await.status(), 200);
        assert_eq!(count.load(SeqCst), runs, "{later} h later");
    }
    // Others are others.
    shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    assert_eq!(count.load(SeqCst), 4);
}

#[tokio::test]
async fn the_endpoint_is_set_up_as_in_production() {
    let shop = TestRouter::new(counting().0).unwrap();
    let shop = shop.endpoint(|endpoint| endpoint.require_api_version("2026-10-28.endive"));
    let old = SyntheticEvent::new("invoice.paid").api_version("2020-08-27");
    let answer = shop.deliver(old).await;
    assert_eq!(answer.status(), 400);
    assert!(matches!(answer.refusal(), Some(Refusal::ApiVersion { .. })), "{answer:?}");
}

#[tokio::test]
async fn events_come_through_the_endpoint_of_this_name() {
    let router = counting().0.handler("which", ["*"], async |event: Event| {
        assert_eq!(event.endpoint().as_str(), "connect");
    });
    let shop = TestRouter::new(router).unwrap().named("connect");
    let answer = shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    assert!(answer.handler("which").is_done());
}

#[tokio::test]
async fn a_layer_is_around_the_router() {
    let (router, count) = counting();
    let shop = TestRouter::new(router).unwrap().layer(Chaos::new(1).fail_after(1.0));
    let answer = shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    assert_eq!((answer.status(), count.load(SeqCst)), (503, 1));
    assert!(matches!(answer.refusal(), Some(Refusal::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn a_recorded_request_is_verified_as_of_its_time() {
    let (router, count) = counting();
    let shop = TestRouter::new(router).unwrap();
    let payload = SyntheticEvent::new("invoice.paid").build().unwrap();
    let (header, body) = (signature(payload.body()), payload.body().clone());
    // Years later.
    let answer = shop.replay(&header, body.clone(), secret()).await;
    assert_eq!((answer.status(), count.load(SeqCst)), (200, 1), "{answer:?}");
    let other = SigningSecret::new("whsec_another").unwrap();
    let answer = shop.replay(&header, body.clone(), other).await;
    assert!(is_mismatch(&answer), "{answer:?}");
    let answer = shop.replay(&header, [&body[..], b" "].concat(), secret()).await;
    assert!(is_mismatch(&answer), "{answer:?}");
    // Without its secret, under one of the test's own.
    let answer = shop.deliver(Payload::recorded(body).unwrap()).await;
    assert_eq!((answer.status(), count.load(SeqCst)), (200, 1));
}

#[tokio::test]
async fn a_request_of_any_sort_can_be_sent() {
    let shop = TestRouter::new(counting().0).unwrap();
    let payload = SyntheticEvent::new("invoice.paid").build().unwrap();
    let answer = shop.send(payload.request(&SigningSecret::new(SECRET).unwrap())).await;
    assert!(is_mismatch(&answer), "{answer:?}");
    let answer = shop.send(http::Request::new(String::new())).await;
    assert_eq!(answer.status(), 405);
}

#[tokio::test]
async fn a_handler_that_was_not_called_fails_the_test_with_what_happened_instead() {
    let shop = TestRouter::new(counting().0).unwrap();
    let said = |answer: &TestResponse, name: &str| {
        let called = AssertUnwindSafe(|| answer.handler(name).is_done());
        let panic = catch_unwind(called).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    let answer = shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    assert_eq!(
        said(&answer, "orders.fullfil"),
        "`orders.fullfil` was not called for `invoice.paid`; handlers called: [\"orders.fulfil\"]"
    );
    let answer = shop.send(http::Request::new(String::new())).await;
    assert_eq!(
        said(&answer, "orders.fulfil"),
        "no handler was called: a webhook endpoint accepts only POST, but the method is GET"
    );
    let made = AssertUnwindSafe(|| drop(shop.deliver(SyntheticEvent::new("invoice.payed"))));
    assert_eq!(
        catch_unwind(made).unwrap_err().downcast_ref::<String>().unwrap(),
        "Stripe has no event type `invoice.payed`; did you mean `invoice.paid`?"
    );
}

/// The time at which the recorded request was signed is long over.
const _: () = assert!(NOW < 1_790_000_000);

fn is_mismatch(answer: &TestResponse) -> bool {
    matches!(answer.refusal(), Some(Refusal::Signature(SignatureError::NoMatch { .. })))
}
