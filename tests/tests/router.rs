//! What the handlers of one event may rely on, whatever their neighbours and the client do.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use router_core::{
    Endpoint, Event, Failure, Handler, HandlerReport, HandlerResult, Outcome, Refusal, Report,
    Router, RouterError, Secrets, SigningSecret, signature::sign, testing::ManualClock,
};
use router_tests::{NOW, event, now, payload, payload_of, secret};
use tower::{Service as _, ServiceExt as _};

use crate::{
    exchange::{post, send},
    held::Held,
};

mod exchange;
mod held;

fn endpoint(secrets: impl Into<Secrets>, router: &Router) -> Endpoint<Router> {
    Endpoint::new(secrets, router.clone()).clock(ManualClock::at(now()))
}

/// What the handlers of a test noted, in order.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().expect("no handler panics here").push(note.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no handler panics here"))
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn an_endpoint_and_a_router_can_be_shared() {
    fn shared<T: Clone + Send + Sync + 'static>() {}

    shared::<Router>();
    shared::<Endpoint<Router>>();
    shared::<Report>();
    shared::<Refusal>();
}

/// As a user writes one who keeps something in it.
struct Audit(Notes);

#[async_trait::async_trait]
impl Handler for Audit {
    async fn call(&self, event: Event) -> HandlerResult {
        self.0.add(event.id());
        Ok(Outcome::ignored("only looked at"))
    }
}

#[tokio::test]
async fn a_handler_by_hand_is_a_type_a_closure_or_a_function() {
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
async fn handlers_run_in_the_order_of_their_names_and_one_that_fails_stops_none() {
    let notes = Notes::default();
    let mut builder = Router::builder();
    for name in ["c", "a", "e", "b", "d"] {
        let notes = notes.clone();
        builder = builder.handler(name, ["*"], move |_: Event| {
            let notes = notes.clone();
            async move {
                notes.add(format!("{name} begins"));
                // Were they to run side by side, the next would begin here.
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
async fn a_client_that_hangs_up_does_not_cancel_a_handler_that_has_begun() {
    let (held, mut heard) = Held::new();
    let router = Router::builder()
        .handler("first", ["*"], held.clone())
        .handler("second", ["*"], held.clone())
        .build()
        .unwrap();
    let mut call = Box::pin(send(endpoint(secret(), &router), post(payload("invoice.paid"))));
    tokio::select! {
        begun = heard.recv() => assert_eq!(begun, Some("begun")),
        response = &mut call => panic!("answered before it was handled: {response:?}"),
    }
    drop(call);
    held.release();
    held.release();
    router.close();
    router.drained().await;
    // It went on, and so did the event: its next handler ran too.
    let rest: Vec<&str> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
    assert_eq!(rest, ["done", "begun", "done"]);
}

#[tokio::test]
async fn a_closed_router_takes_no_more_events_and_waits_for_those_that_run() {
    let (held, mut heard) = Held::new();
    let router = Router::builder().handler("held", ["*"], held.clone()).build().unwrap();
    let running = send(endpoint(secret(), &router), post(payload("invoice.paid")));
    let running = tokio::spawn(running);
    assert_eq!(heard.recv().await, Some("begun"));

    // A clone is the same router.
    router.clone().close();
    let refused = pin!(send(endpoint(secret(), &router), post(payload("invoice.paid"))));
    let Poll::Ready(refused) = poll(refused) else { panic!("it was taken") };
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "10");
    match refused.extensions().get() {
        Some(Refusal::Unavailable(cause)) => {
            assert!(matches!(cause.downcast_ref(), Some(RouterError::Closed)), "{cause}");
        }
        other => panic!("{other:?}"),
    }

    let mut drained = pin!(router.drained());
    assert_eq!(poll(drained.as_mut()), Poll::Pending, "a handler still runs");
    held.release();
    assert_eq!(running.await.unwrap().status(), 200);
    drained.await;
}

#[tokio::test]
async fn a_router_that_is_not_closed_is_never_drained() {
    let router = Router::builder().handler("a", ["*"], async |_: Event| {}).build().unwrap();
    assert_eq!(poll(pin!(router.drained())), Poll::Pending);
}

#[tokio::test]
async fn events_run_side_by_side() {
    let (held, mut heard) = Held::new();
    let router = Router::builder().handler("held", ["*"], held.clone()).build().unwrap();
    let run = move |body: String| router.clone().oneshot(event(body).unwrap());
    let other = payload_of("evt_2", "invoice.paid");
    let both = tokio::spawn(async move { tokio::join!(run(payload("invoice.paid")), run(other)) });
    assert_eq!(heard.recv().await, Some("begun"));
    assert_eq!(heard.recv().await, Some("begun"), "the second waits for the first");
    held.release();
    held.release();
    let (first, second) = both.await.unwrap();
    assert!(first.unwrap().handler("held").unwrap().is_done());
    assert!(second.unwrap().handler("held").unwrap().is_done());
}

#[tokio::test]
async fn the_secret_that_matched_says_which_endpoint_an_event_came_through() {
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
        let body = Bytes::from(payload_of(text, "invoice.paid"));
        let header = sign(&SigningSecret::new(text).unwrap(), NOW, &body);
        let request = Request::post("/").header("stripe-signature", header).body(Full::new(body));
        assert_eq!(send(endpoint.clone(), request.unwrap()).await.status(), 200, "{text}");
    }
    assert_eq!(notes.take(), ["platform", "platform", "connect", "default"]);
}

#[tokio::test]
async fn a_thin_event_is_routed_by_the_same_table() {
    let thin = r#"{"id":"evt_thin","object":"v2.core.event","type":"v1.billing.meter.no_meter_found","created":"2023-11-14T22:13:20.000Z","livemode":false,"related_object":{"id":"mtr_1","type":"billing.meter","url":"/v1/billing/meters/mtr_1"}}"#;
    let notes = Notes::default();
    let in_handler = notes.clone();
    let handler = move |event: Event| {
        assert!(event.is_thin());
        let related = event.related_object().and_then(|related| related.id().map(str::to_owned));
        in_handler.add(related.expect("it names its object"));
        std::future::ready(())
    };
    let router = Router::builder().handler("thin", ["v1.billing.*"], handler).build().unwrap();
    let response = send(endpoint(secret(), &router), post(thin)).await;
    assert_eq!(response.status(), 200, "{}", response.body());
    assert_eq!(notes.take(), ["mtr_1"]);
}

#[tokio::test]
async fn a_router_alone_is_a_service_of_events() {
    let mut router = Router::builder().handler("a", ["*"], async |_: Event| {}).build().unwrap();
    let report = router.ready().await.unwrap().call(event(payload("invoice.paid")).unwrap());
    assert!(report.await.unwrap().handler("a").unwrap().is_done());
    router.close();
    let closed = router.call(event(payload("invoice.paid")).unwrap()).await;
    assert!(matches!(closed, Err(RouterError::Closed)));
}
