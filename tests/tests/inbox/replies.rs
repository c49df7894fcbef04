//! Handlers that reply, together with handlers whose events are stored and delivered.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use router_core::{
    Endpoint, Event, Failure, Reply, Router, State,
    build::{Registered, RouterBuilder},
    on_event,
    server::Server,
    testing::Payload,
};
use router_inbox::{
    InboxError, Receipt,
    store::{
        DeliveryState::{Done, Waiting},
        Stored,
    },
    testing::TestInbox,
};
use router_tests::{
    event as event_of,
    exchange::{post, send},
    payload, secret, signature,
};
use serde::Serialize;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use tower::Service as _;

use crate::shop::{FaultyStore, Shop, settle};

const REQUEST: &str = "issuing_authorization.request";
const APPROVED: &str = r#"{"approved":true}"#;
const DECLINED: &str = r#"{"approved":false}"#;

#[derive(Serialize)]
struct Decision {
    approved: bool,
}

fn decline() -> Reply<Decision> {
    Reply(Decision { approved: false })
}

/// The ledger: each call takes a permit, and then the next failure, if there is one.
struct Ledger {
    calls: AtomicUsize,
    permits: Semaphore,
    failures: Mutex<Vec<Failure>>,
}

impl Ledger {
    fn new(permits: usize) -> Self {
        let (calls, permits) = (AtomicUsize::new(0), Semaphore::new(permits));
        Self { calls, permits, failures: Mutex::default() }
    }

    fn then(self, failure: Failure) -> Self {
        self.failures.lock().expect("lock is not poisoned").push(failure);
        self
    }

    async fn decide(&self) -> Result<Reply<Decision>, Failure> {
        self.calls.fetch_add(1, SeqCst);
        self.permits.acquire().await.expect("semaphore is never closed").forget();
        match self.failures.lock().expect("lock is not poisoned").pop() {
            Some(failure) => Err(failure),
            None => Ok(Reply(Decision { approved: true })),
        }
    }
}

#[on_event("issuing_authorization.request", name = "bank.authorize")]
async fn authorize(_: Event, ledger: State<Ledger>) -> Result<Reply<Decision>, Failure> {
    ledger.decide().await
}

#[on_event(
    "issuing_authorization.request",
    name = "bank.decline",
    deadline = "1s",
    default_reply = decline
)]
async fn authorize_or_decline(_: Event, ledger: State<Ledger>) -> Result<Reply<Decision>, Failure> {
    ledger.decide().await
}

/// The answer would wait for it, if no handler replied.
#[on_event("issuing_authorization.request", name = "bank.fulfil", answer_after = "8s")]
async fn fulfil(_: Event) {}

fn router<H: Registered>(ledger: Ledger) -> RouterBuilder {
    Router::builder().only::<H>().add::<fulfil>().state(ledger)
}

fn request() -> String {
    payload(REQUEST).replace(r#""created""#, r#""api_version":"2026-10-28.endive","created""#)
}

fn request_event() -> Event {
    event_of(request()).expect("the payload is an event")
}

/// Sends the request to the shop's endpoint in a task of its own.
fn send_request(shop: &Shop) -> JoinHandle<Response<String>> {
    let endpoint = Endpoint::new(secret(), shop.inbox.clone()).clock(shop.clock.clone());
    tokio::spawn(send(endpoint, post(request())))
}

async fn answer(shop: &Shop) -> (u16, String) {
    let response = send_request(shop).await.expect("the endpoint does not panic");
    (response.status().as_u16(), response.into_body())
}

fn expected(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

fn calls(ledger: &State<Ledger>) -> usize {
    ledger.calls.load(SeqCst)
}

/// A shop, and the ledger of its handlers.
fn shop<H: Registered>(
    ledger: Ledger,
    configure: impl FnOnce(&mut FaultyStore),
) -> (Shop, State<Ledger>) {
    let ledger = std::sync::Arc::new(ledger);
    let router = Router::builder().only::<H>().add::<fulfil>().shared_state(ledger.clone());
    (Shop::with_store(router, configure), State(ledger))
}

#[tokio::test]
async fn reply_is_sent_once_the_event_is_stored_for_the_others() {
    let (shop, ledger) =
        shop::<authorize>(Ledger::new(0), |store| store.store_permits = Semaphore::new(0));
    let answer = send_request(&shop);
    settle().await;
    assert_eq!(calls(&ledger), 1);
    assert!(shop.store().batch_sizes.lock().unwrap().is_empty(), "stored before the reply");
    ledger.permits.add_permits(1);
    settle().await;
    assert!(!answer.is_finished(), "answered before the event was stored");
    shop.store().store_permits.add_permits(1);
    settle().await;
    assert!(answer.is_finished(), "the answer waits for a handler with `answer_after`");

    let answer = answer.await.unwrap();
    assert_eq!((answer.status().as_u16(), &**answer.body()), (200, APPROVED));
    assert_eq!(answer.headers()["stripe-version"], "2026-10-28.endive");
    let receipt: &Receipt = answer.extensions().get().unwrap();
    assert_eq!((receipt.outcome(), receipt.stored()), ("stored", Some(&Stored::New)));
    assert_eq!(receipt.handlers(), ["bank.fulfil".into()]);
    assert!(receipt.reply().unwrap().handler("bank.authorize").unwrap().is_done());
    assert_eq!(shop.state("evt_1").await, (Waiting, 0));
    shop.inbox.worker(shop.inbox.router().clone()).run_until_idle().await;
    assert_eq!(shop.state("evt_1").await, (Done, 1));
    assert_eq!(calls(&ledger), 1);
}

#[tokio::test]
async fn reply_is_not_sent_if_the_event_cannot_be_stored() {
    let (shop, ledger) = shop::<authorize>(Ledger::new(9), |_| {});
    shop.store().store_fails.store(true, SeqCst);
    let response = send_request(&shop).await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().get("stripe-version").is_none());
    assert!(!response.body().contains("approved"), "{}", response.body());
    assert!(shop.deliveries("evt_1").await.is_empty());
    // Stripe sends the event again, and gets the same reply.
    shop.store().store_fails.store(false, SeqCst);
    assert_eq!(answer(&shop).await, expected(200, APPROVED));
    assert_eq!((calls(&ledger), shop.state("evt_1").await), (1, (Waiting, 0)));
}

#[tokio::test]
async fn event_is_stored_if_the_reply_fails() {
    let failing = Ledger::new(9).then(Failure::retry("the ledger is down"));
    let (shop, ledger) = shop::<authorize>(failing, |_| {});
    let body = r#"{"event":"evt_1","outcome":"retry","handlers":[{"name":"bank.authorize","outcome":"retry"}]}"#;
    assert_eq!(answer(&shop).await, expected(500, body));
    assert_eq!(shop.state("evt_1").await, (Waiting, 0));
    // Stripe sends the event again: only the handler that failed runs.
    assert_eq!(answer(&shop).await, expected(200, APPROVED));
    assert_eq!((calls(&ledger), shop.state("evt_1").await), (2, (Waiting, 0)));
}

#[tokio::test]
async fn event_is_stored_if_the_router_is_closed() {
    let (shop, ledger) = shop::<authorize>(Ledger::new(9), |_| {});
    shop.inbox.router().close();
    let error = shop.inbox.clone().call(request_event()).await.unwrap_err();
    assert!(matches!(error, InboxError::Reply(_)), "{error:?}");
    assert_eq!((calls(&ledger), shop.state("evt_1").await), (0, (Waiting, 0)));
    assert_eq!(answer(&shop).await.0, 503);
}

/// Nothing is sent or stored before the handler has failed or its deadline has passed.
#[tokio::test]
async fn default_reply_is_sent_after_a_failure_or_at_the_deadline() {
    let failing = Ledger::new(0).then(Failure::permanent("no such card"));
    for (ledger, has_failed) in [(failing, true), (Ledger::new(0), false)] {
        let (shop, ledger) = shop::<authorize_or_decline>(ledger, |_| {});
        let answer = send_request(&shop);
        settle().await;
        shop.clock.advance(Duration::from_millis(999));
        settle().await;
        assert_eq!((answer.is_finished(), calls(&ledger)), (false, 1));
        assert!(shop.store().batch_sizes.lock().unwrap().is_empty(), "stored before the reply");
        match has_failed {
            true => ledger.permits.add_permits(1),
            false => shop.clock.advance(Duration::from_millis(1)),
        }
        settle().await;
        assert!(answer.is_finished(), "has failed: {has_failed}");
        let answer = answer.await.unwrap();
        assert_eq!((answer.status().as_u16(), &**answer.body()), (200, DECLINED));
        assert_eq!((calls(&ledger), shop.state("evt_1").await), (1, (Waiting, 0)));
    }
}

/// Stripe does not resend the event after a permanent failure, but its other handlers run.
#[tokio::test]
async fn permanent_failure_without_default_reply_is_answered_with_200() {
    let failing = Ledger::new(9).then(Failure::permanent("no such card"));
    let (shop, ledger) = shop::<authorize>(failing, |_| {});
    let response = send_request(&shop).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().get("stripe-version").is_none());
    assert!(!response.body().contains("approved"), "{}", response.body());
    assert_eq!((calls(&ledger), shop.state("evt_1").await), (1, (Waiting, 0)));
}

#[tokio::test]
async fn duplicate_gets_the_reply_of_the_first_run() {
    let (shop, ledger) = shop::<authorize>(Ledger::new(0), |_| {});
    let both = [send_request(&shop), send_request(&shop)];
    settle().await;
    ledger.permits.add_permits(9);
    for response in both {
        assert_eq!(response.await.unwrap().body(), APPROVED);
    }
    let later = send_request(&shop).await.unwrap();
    assert_eq!(later.body(), APPROVED);
    assert_eq!(later.extensions().get::<Receipt>().unwrap().outcome(), "duplicate");
    assert_eq!((calls(&ledger), shop.state("evt_1").await), (1, (Waiting, 0)));
}

#[tokio::test]
async fn event_is_stored_after_the_client_has_hung_up() {
    let (shop, ledger) = shop::<authorize>(Ledger::new(0), |_| {});
    let abandoned = send_request(&shop);
    settle().await;
    assert_eq!((abandoned.is_finished(), calls(&ledger)), (false, 1));
    abandoned.abort();
    settle().await;
    ledger.permits.add_permits(1);
    settle().await;
    assert_eq!((calls(&ledger), shop.state("evt_1").await), (1, (Waiting, 0)));
}

#[tokio::test]
async fn event_whose_only_handler_replies_needs_no_store() {
    let ledger = Ledger::new(9).then(Failure::retry("the ledger is down"));
    let router = Router::builder().only::<authorize>().state(ledger);
    let shop = Shop::new(router);
    shop.store().is_down.store(true, SeqCst);
    assert_eq!(answer(&shop).await.0, 500);
    let response = send_request(&shop).await.unwrap();
    assert_eq!((response.status().as_u16(), &**response.body()), (200, APPROVED));
    let receipt: &Receipt = response.extensions().get().unwrap();
    assert_eq!((receipt.outcome(), receipt.stored()), ("done", None));
    shop.store().is_down.store(false, SeqCst);
    assert!(shop.store().batch_sizes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn test_inbox_runs_the_handler_again_only_after_a_restart() {
    let shop = TestInbox::new(router::<authorize>(Ledger::new(1))).await.unwrap();
    let request = Payload::recorded(request()).unwrap();
    for outcome in ["stored", "duplicate"] {
        let response = shop.deliver(&request).await;
        assert_eq!((response.status(), response.outcome()), (200, outcome));
        assert_eq!(response.reply(), Some(APPROVED.as_bytes()));
    }
    let failing = Ledger::new(1).then(Failure::retry("the ledger is down"));
    let shop = shop.restart(router::<authorize>(failing)).await.unwrap();
    let response = shop.deliver(&request).await;
    assert_eq!((response.status(), response.outcome()), (500, "duplicate"));
    shop.run_until_idle().await;
    assert_eq!(shop.outcomes("bank.fulfil"), ["done"]);
    assert!(!format!("{:?}", shop.inbox().router().handlers()).contains("bank.authorize"));
}

/// Over a real connection, with a worker in the same process.
#[tokio::test]
async fn server_replies_and_a_worker_runs_the_other_handler() {
    let (shop, _) = shop::<authorize>(Ledger::new(1), |_| {});
    let _worker = shop.start_worker();
    let endpoint = Endpoint::new(secret(), shop.inbox.clone()).clock(shop.clock.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhook", listener.local_addr().unwrap());
    let server = Server::new(endpoint).clock(shop.clock.clone());
    let server = tokio::spawn(server.serve(listener, std::future::pending()));

    let body = request();
    let request = Request::post(url)
        .header("Stripe-Signature", signature(body.as_bytes()))
        .body(Full::new(bytes::Bytes::from(body)))
        .unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["stripe-version"], "2026-10-28.endive");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), APPROVED);
    shop.wait_for("evt_1", Done, 1).await;
    server.abort();
}
