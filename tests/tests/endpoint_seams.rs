//! What stands beside and behind an endpoint: a provider of secrets, a service of events, a server
//! with types of its own.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, request::Parts};
use http_body_util::Full;
use router_core::{
    Answer, BoxError, Endpoint, Event, Refusal, Router, SecretProvider, Secrets,
    testing::ManualClock,
};
use router_tests::{now, payload, secret, signature};
use tower::{Service, service_fn};

use crate::exchange::{post, read, send};

mod exchange;

const PAID: &str = "invoice.paid";

fn over<S>(inner: S) -> Endpoint<S> {
    Endpoint::new(secret(), inner).clock(ManualClock::at(now()))
}

fn retry_after(response: &Response<String>) -> Option<&HeaderValue> {
    response.headers().get("retry-after")
}

/// Knows one tenant, whose address is `/webhook`, and is broken for `/down`.
struct Tenants;

impl SecretProvider for Tenants {
    async fn secrets(&self, request: &Parts) -> Result<Option<Secrets>, BoxError> {
        match request.uri.path() {
            "/webhook" => Ok(Some(secret().into())),
            "/down" => Err("password of the vault refused".into()),
            _ => Ok(None),
        }
    }
}

#[tokio::test]
async fn a_provider_decides_by_the_request_which_secrets_count() {
    let inner = service_fn(async |_: Event| Ok::<_, BoxError>(Answer::accepted(&"stored")));
    let endpoint = Endpoint::with_provider(Tenants, inner).clock(ManualClock::at(now()));
    let rows = [
        ("/webhook", 200, r#""stored""#, None),
        ("/elsewhere", 404, r#"{"error":"not found"}"#, None),
        ("/down", 503, r#"{"error":"try again later"}"#, Some("10")),
    ];
    for (path, status, body, wait) in rows {
        let mut request = post(payload(PAID));
        *request.uri_mut() = path.parse().unwrap();
        let response = send(endpoint.clone(), request).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.body(), body);
        assert_eq!(retry_after(&response), wait.map(HeaderValue::from_static).as_ref());
        match (path, response.extensions().get()) {
            ("/webhook", None) | ("/elsewhere", Some(Refusal::UnknownEndpoint)) => {}
            ("/down", Some(Refusal::SecretsUnavailable(error))) => {
                assert_eq!(error.to_string(), "password of the vault refused");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_service_behind_the_endpoint_that_fails_is_asked_for_again_later() {
    let inner = service_fn(async |_: Event| Err::<Answer, BoxError>("the disk is full".into()));
    let response = send(over(inner), post(payload(PAID))).await;
    assert_eq!(response.status(), 503);
    assert_eq!(retry_after(&response).unwrap(), "10");
    assert_eq!(response.body(), r#"{"error":"try again later"}"#);
    match response.extensions().get() {
        Some(Refusal::Unavailable(cause)) => assert_eq!(cause.to_string(), "the disk is full"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_service_behind_the_endpoint_can_ask_for_the_event_again() {
    let again = || Answer::retry(&"later", Some(Duration::from_secs(5)));
    let inner = service_fn(move |_: Event| ready(Ok::<_, BoxError>(again())));
    let response = send(over(inner), post(payload(PAID))).await;
    assert_eq!(response.status(), 500);
    assert_eq!(response.body(), r#""later""#);
    assert_eq!(retry_after(&response).unwrap(), "5");
}

/// A service behind the endpoint that nobody may ask for anything.
#[derive(Clone)]
struct Untouchable;

impl Service<Event> for Untouchable {
    type Response = Answer;
    type Error = BoxError;
    type Future = Ready<Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        panic!("asked whether it is ready")
    }

    fn call(&mut self, _: Event) -> Self::Future {
        panic!("called")
    }
}

#[tokio::test]
async fn a_request_that_is_refused_never_touches_the_service_behind_the_endpoint() {
    let unsigned = Request::post("/webhook").body(Full::new(Bytes::from(payload(PAID)))).unwrap();
    let large = post("x".repeat(2 << 20));
    let no_event = post("[]");
    let mut get = post(payload(PAID));
    *get.method_mut() = Method::GET;
    for (request, status) in [(unsigned, 400), (large, 413), (no_event, 400), (get, 405)] {
        assert_eq!(send(over(Untouchable), request).await.status(), status);
    }
}

#[tokio::test]
async fn a_server_with_types_of_its_own_gets_the_same_answers() {
    let body = Bytes::from(payload(PAID));
    let good = signature(&body);
    let router = Router::builder().handler("shop", [PAID], async |_: Event| {}).build().unwrap();
    let endpoint = over(router).body_limit(body.len());
    let rows: [(Option<&[u8]>, Bytes, u16); 4] = [
        (Some(good.as_bytes()), body.clone(), 200),
        (None, body.clone(), 400),
        (Some(b"\xff"), body.clone(), 400),
        (Some(good.as_bytes()), [&*body, b" "].concat().into(), 413),
    ];
    for (header, body, status) in rows {
        let response = read(endpoint.receive(header, body).await).await;
        assert_eq!(response.status(), status);
    }
}
