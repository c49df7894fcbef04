//! Guarantees of the router to a handler, independent of other handlers and of the client.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use router_core::{
    Endpoint, Event, Failure, Outcome, Router, Secrets, SigningSecret,
    endpoint::Refusal,
    handler::{Handler, HandlerReport, HandlerResult, Report},
    routing::RouterError,
    signature::sign,
    testing::ManualClock,
};
use router_tests::{
    NOW, event,
    exchange::{post, send},
    held::Held,
    now, payload, payload_with_id, secret,
};
use tower::{Service as _, ServiceExt as _};

fn endpoint(secrets: impl Into<Secrets>, router: &Router) -> Endpoint<Router> {
    Endpoint::new(secrets, router.clone()).clock(ManualClock::at(now()))
}

/// Notes of the handlers of a test, in order.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().expect("the lock is not poisoned").push(note.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("the lock is not poisoned"))
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn endpoint_and_router_are_clone_send_and_sync() {
    fn assert_shareable<T: Clone + Send + Sync + 'static>() {}

    assert_shareable::<Router>();
    assert_shareable::<Endpoint<Router>>();
    assert_shareable::<Report>();
    assert_shareable::<Refusal>();
}

/// A manual `Handler` implementation with state.
struct Audit(Notes);

#[async_trait::async_trait]
impl Handler for Audit {
    async fn call(&self, event: Event) -> HandlerResult {
        self.0.add(event.id());
        Ok(Outcome::ignored("only audited"))
    }
}

#[tokio::test]
async fn handler_is_a_type_a_closure_or_a_function() {
    async fn function(_: Event) -> Result<(), Failure> {
        Ok(())
    }

    let notes = Notes::default();
    let in_closure = notes.clone();
    let router = Router::builder()
        .handler("closure", ["invoice.*"], move |event: Event| {
            let notes = in_closure.clone();
            async move { notes.add(event.event_type()) }
        })
        .handler("function", ["*"], function)
        .handler("type", ["invoice.paid"], Audit(notes.clone()));
    let router = router.build().unwrap();
    let response = send(endpoint(secret(), &router), post(payload("invoice.paid"))).await;
    assert_eq!(response.status(), 200);
    assert_eq!(notes.take(), ["invoice.paid", "evt_1"]);
    let report: &Report = response.extensions().get().unwrap();
    let names: Vec<&str> = report.handlers().iter().map(HandlerReport::name).collect();
    assert_eq!(names, ["closure", "function", "type"]);
}

#[tokio::test]
async fn handlers_run_in_name_order_despite_failures() {
    let notes = Notes::default();
    let mut builder = Router::builder();
    for name in ["c", "a", "e", "b", "d"] {
        let notes = notes.clone();
        builder = builder.handler(name, ["*"], move |_: Event| {
            let notes = notes.clone();
            async move {
                notes.add(format!("{name} begins"));
                // If handlers ran concurrently, the next would begin here.
                tokio::task::yield_now().await;
                notes.add(format!("{name} ends"));
                match name {
                    "a" => Err("not now".into()),
                    "b" => Err(Failure::permanent("never")),
                    "c" => panic!("a bug"),
                    _ => Ok(()),
                }
            }
        });
    }
    let router = builder.build().unwrap();
    let response = send(endpoint(secret(), &router), post(payload("invoice.paid"))).await;
    assert_eq!(response.status(), 500);
    let expected = ["a", "b", "c", "d", "e"];
    let expected = expected.map(|name| [format!("{name} begins"), format!("{name} ends")]);
    assert_eq!(notes.take(), expected.as_flattened());
}

#[tokio::test]
async fn client_disconnect_does_not_cancel_handlers() {
    let (held, mut progress) = Held::new();
    let router = Router::builder()
        .handler("first", ["*"], held.clone())
        .handler("second", ["*"], held.clone())
        .build()
        .unwrap();
    let mut call = Box::pin(send(endpoint(secret(), &router), post(payload("invoice.paid"))));
    tokio::select! {
        begun = progress.recv() => assert_eq!(begun, Some("begun")),
        response = &mut call => panic!("the answer came before the handler ran: {response:?}"),
    }
    drop(call);
    held.release();
    held.release();
    router.close();
    router.drained().await;
    // The running handler finished, and the event's next handler ran too.
    let rest: Vec<&str> = std::iter::from_fn(|| progress.try_recv().ok()).collect();
    assert_eq!(rest, ["done", "begun", "done"]);
}

#[tokio::test]
async fn closed_router_answers_503_and_drains_in_flight() {
    let (held, mut progress) = Held::new();
    let router = Router::builder().handler("held", ["*"], held.clone()).build().unwrap();
    let running = send(endpoint(secret(), &router), post(payload("invoice.paid")));
    let running = tokio::spawn(running);
    assert_eq!(progress.recv().await, Some("begun"));

    // Closing a clone closes the router.
    router.clone().close();
    let refused = pin!(send(endpoint(secret(), &router), post(payload("invoice.paid"))));
    let Poll::Ready(refused) = poll(refused) else {
        panic!("the closed router accepted the event")
    };
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "10");
    match refused.extensions().get() {
        Some(Refusal::Unavailable(cause)) => {
            assert!(matches!(cause.downcast_ref(), Some(RouterError::Closed)), "{cause}");
        }
        other => panic!("{other:?}"),
    }

    let mut drained = pin!(router.drained());
    assert_eq!(poll(drained.as_mut()), Poll::Pending, "a handler is still running");
    held.release();
    assert_eq!(running.await.unwrap().status(), 200);
    drained.await;
}

#[tokio::test]
async fn open_router_is_never_drained() {
    let router = Router::builder().handler("a", ["*"], async |_: Event| {}).build().unwrap();
    assert_eq!(poll(pin!(router.drained())), Poll::Pending);
}

#[tokio::test]
async fn events_run_concurrently() {
    let (held, mut progress) = Held::new();
    let router = Router::builder().handler("held", ["*"], held.clone()).build().unwrap();
    let run = move |body: String| router.clone().oneshot(event(body).unwrap());
    let other = payload_with_id("evt_2", "invoice.paid");
    let both = tokio::spawn(async move { tokio::join!(run(payload("invoice.paid")), run(other)) });
    assert_eq!(progress.recv().await, Some("begun"));
    assert_eq!(progress.recv().await, Some("begun"), "the second event waits for the first");
    held.release();
    held.release();
    let (first, second) = both.await.unwrap();
    assert!(first.unwrap().handler("held").unwrap().is_done());
    assert!(second.unwrap().handler("held").unwrap().is_done());
}

#[tokio::test]
async fn matching_secret_determines_endpoint_of_event() {
    let notes = Notes::default();
    let in_handler = notes.clone();
    let handler = move |event: Event| {
        in_handler.add(event.endpoint().as_str());
        std::future::ready(())
    };
    let router = Router::builder().handler("note", ["*"], handler).build().unwrap();
    let secrets = Secrets::parse("platform=whsec_new|whsec_old,connect=whsec_c,whsec_d").unwrap();
    let endpoint = endpoint(secrets, &router);
    for text in ["whsec_new", "whsec_old", "whsec_c", "whsec_d"] {
        let body = Bytes::from(payload_with_id(text, "invoice.paid"));
        let header = sign(&SigningSecret::new(text).unwrap(), NOW, &body);
        let request = Request::post("/").header("stripe-signature", header).body(Full::new(body));
        assert_eq!(send(endpoint.clone(), request.unwrap()).await.status(), 200, "{text}");
    }
    assert_eq!(notes.take(), ["platform", "platform", "connect", "default"]);
}

#[tokio::test]
async fn thin_event_is_routed_like_a_snapshot_event() {
    let thin = r#"{"id":"evt_thin","object":"v2.core.event","type":"v1.billing.meter.no_meter_found","created":"2023-11-14T22:13:20.000Z","livemode":false,"related_object":{"id":"mtr_1","type":"billing.meter","url":"/v1/billing/meters/mtr_1"}}"#;
    let notes = Notes::default();
    let in_handler = notes.clone();
    let handler = move |event: Event| {
        assert!(event.is_thin());
        let related = event.related_object().and_then(|related| related.id().map(str::to_owned));
        in_handler.add(related.expect("the event has a related object"));
        std::future::ready(())
    };
    let router = Router::builder().handler("thin", ["v1.billing.*"], handler).build().unwrap();
    let response = send(endpoint(secret(), &router), post(thin)).await;
    assert_eq!(response.status(), 200, "{}", response.body());
    assert_eq!(notes.take(), ["mtr_1"]);
}

#[tokio::test]
async fn router_is_a_service_of_events() {
    let mut router = Router::builder().handler("a", ["*"], async |_: Event| {}).build().unwrap();
    let report = router.ready().await.unwrap().call(event(payload("invoice.paid")).unwrap());
    assert!(report.await.unwrap().handler("a").unwrap().is_done());
    router.close();
    let closed = router.call(event(payload("invoice.paid")).unwrap()).await;
    assert!(matches!(closed, Err(RouterError::Closed)));
}
