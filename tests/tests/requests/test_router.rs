//! `TestRouter`: a router behind an endpoint, as in production, with answers to inspect.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use router_core::{
    Event, Failure, Router, SigningSecret,
    build::RouterBuilder,
    endpoint::Refusal,
    signature::SignatureError,
    testing::{Chaos, Payload, SyntheticEvent, TestResponse, TestRouter},
};
use router_tests::{NOW, SECRET, secret, signature};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Returns a router with one handler, and its number of calls. The handler fails if the amount is
/// 13.
fn counting_router() -> (RouterBuilder, Arc<AtomicU32>) {
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
async fn answer_shows_the_outcome_of_each_handler() {
    let shop = TestRouter::new(counting_router().0).unwrap();
    let answer = shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.handler("orders.fulfil").is_done());
    assert!(answer.refusal().is_none());
    let answer = shop.deliver(SyntheticEvent::new("invoice.paid").set("amount_paid", 13)).await;
    assert_eq!((answer.status(), answer.handler("orders.fulfil").outcome()), (500, "retry"));
    assert_eq!(answer.response().headers()["content-type"], "application/json");
}

#[derive(serde::Deserialize)]
struct IdentifiedInvoice {
    #[expect(dead_code, reason = "decoded but never read")]
    id: String,
}

/// The handler decodes the other events of invoices, so the sample finds a mistake that would make
/// each notice of an upcoming invoice a dead letter.
#[tokio::test]
async fn handler_that_requires_id_fails_with_upcoming_invoice() {
    let types = ["invoice.paid", "invoice.upcoming"];
    let shop =
        TestRouter::new(Router::builder().handler("invoices", types, async |event: Event| {
            event.decode_object::<IdentifiedInvoice>().map(drop)
        }))
        .unwrap();
    let paid = shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    assert!(paid.handler("invoices").is_done());
    let upcoming = shop.deliver(SyntheticEvent::new("invoice.upcoming")).await;
    let handler = upcoming.handler("invoices");
    assert_eq!(handler.outcome(), "retry");
    let failure = handler.result().unwrap_err().to_string();
    assert_eq!(failure, "`data.object` does not decode: missing field `id`");
}

#[tokio::test]
async fn same_payload_is_deduplicated_during_retention() {
    let (router, count) = counting_router();
    let shop = TestRouter::new(router).unwrap();
    let payload = SyntheticEvent::new("invoice.paid").build().unwrap();
    for (hours, runs) in [(0, 1), (0, 1), (71, 1), (2, 2)] {
        shop.clock().advance(HOUR * hours);
        assert_eq!(shop.deliver(&payload).await.status(), 200);
        assert_eq!(count.load(SeqCst), runs, "{hours} h later");
    }
    // Separately built events are not duplicates.
    shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    assert_eq!(count.load(SeqCst), 4);
}

#[tokio::test]
async fn endpoint_can_be_configured() {
    let shop = TestRouter::new(counting_router().0).unwrap();
    let shop = shop.endpoint(|endpoint| endpoint.require_api_version("2026-10-28.endive"));
    let old = SyntheticEvent::new("invoice.paid").api_version("2020-08-27");
    let answer = shop.deliver(old).await;
    assert_eq!(answer.status(), 400);
    assert!(matches!(answer.refusal(), Some(Refusal::ApiVersion { .. })), "{answer:?}");
}

#[tokio::test]
async fn endpoint_name_reaches_the_handlers() {
    let router = counting_router().0.handler("which", ["*"], async |event: Event| {
        assert_eq!(event.endpoint().as_str(), "connect");
    });
    let shop = TestRouter::new(router).unwrap().named("connect");
    let answer = shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    assert!(answer.handler("which").is_done());
}

#[tokio::test]
async fn layer_wraps_the_router() {
    let (router, count) = counting_router();
    let shop = TestRouter::new(router).unwrap().layer(Chaos::new(1).fail_after(1.0));
    let answer = shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    assert_eq!((answer.status(), count.load(SeqCst)), (503, 1));
    assert!(matches!(answer.refusal(), Some(Refusal::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn recorded_request_is_verified_at_its_own_time() {
    let (router, count) = counting_router();
    let shop = TestRouter::new(router).unwrap();
    let payload = SyntheticEvent::new("invoice.paid").build().unwrap();
    let (header, body) = (signature(payload.body()), payload.body().clone());
    // The request was signed years before the time of the test's clock.
    let answer = shop.replay(&header, body.clone(), secret()).await;
    assert_eq!((answer.status(), count.load(SeqCst)), (200, 1), "{answer:?}");
    let other = SigningSecret::new("whsec_another").unwrap();
    let answer = shop.replay(&header, body.clone(), other).await;
    assert!(is_mismatch(&answer), "{answer:?}");
    let answer = shop.replay(&header, [&body[..], b" "].concat(), secret()).await;
    assert!(is_mismatch(&answer), "{answer:?}");
    // Without the original secret, the body is signed with a secret of the test.
    let answer = shop.deliver(Payload::recorded(body).unwrap()).await;
    assert_eq!((answer.status(), count.load(SeqCst)), (200, 1));
}

#[tokio::test]
async fn send_accepts_any_request() {
    let shop = TestRouter::new(counting_router().0).unwrap();
    let payload = SyntheticEvent::new("invoice.paid").build().unwrap();
    let answer = shop.send(payload.request(&SigningSecret::new(SECRET).unwrap())).await;
    assert!(is_mismatch(&answer), "{answer:?}");
    let answer = shop.send(http::Request::new(String::new())).await;
    assert_eq!(answer.status(), 405);
}

#[tokio::test]
async fn uncalled_handler_panics_with_an_explanation() {
    let shop = TestRouter::new(counting_router().0).unwrap();
    let panic_message = |answer: &TestResponse, name: &str| {
        let called = AssertUnwindSafe(|| answer.handler(name).is_done());
        let panic = catch_unwind(called).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    let answer = shop.deliver(SyntheticEvent::new("invoice.paid")).await;
    assert_eq!(
        panic_message(&answer, "orders.fullfil"),
        "`orders.fullfil` was not called for `invoice.paid`; handlers called: [\"orders.fulfil\"]"
    );
    let answer = shop.send(http::Request::new(String::new())).await;
    assert_eq!(
        panic_message(&answer, "orders.fulfil"),
        "no handler was called: a webhook endpoint accepts only POST, but the method is GET"
    );
    let misspelled = AssertUnwindSafe(|| drop(shop.deliver(SyntheticEvent::new("invoice.payed"))));
    assert_eq!(
        catch_unwind(misspelled).unwrap_err().downcast_ref::<String>().unwrap(),
        "Stripe has no event type `invoice.payed`; did you mean `invoice.paid`?"
    );
}

/// The recorded request is much older than the tolerance.
const _: () = assert!(NOW < 1_790_000_000);

fn is_mismatch(answer: &TestResponse) -> bool {
    matches!(answer.refusal(), Some(Refusal::Signature(SignatureError::NoMatch { .. })))
}
