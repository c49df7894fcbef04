//! A request in, and the response, read to its end, out.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use router_tests::signature;
use tower::{Service, ServiceExt as _};

/// A signed request.
pub(crate) fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let body = body.into();
    Request::post("/webhook")
        .header("Stripe-Signature", signature(&body))
        .body(Full::new(body))
        .expect("it is a request")
}

/// Sends the request, and checks what is so of every response of an endpoint.
pub(crate) async fn send<S, B>(endpoint: S, request: Request<B>) -> Response<String>
where
    S: Service<Request<B>, Response = router_core::Response, Error = Infallible>,
{
    let response = endpoint.oneshot(request).await;
    read(response.expect("an endpoint never fails")).await
}

/// Reads the body, and checks what is so of every response of an endpoint.
pub(crate) async fn read(response: router_core::Response) -> Response<String> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("it is there").to_bytes();
    let body = String::from_utf8(body.into()).expect("it is UTF-8");
    assert_eq!(parts.headers["content-type"], "application/json");
    assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
    assert!(!body.contains(['\n', '\r']), "{body}");
    Response::from_parts(parts, body)
}
