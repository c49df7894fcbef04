//! Sends a signed request to an endpoint and reads the whole response.

use std::convert::Infallible;

use crate::signature;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tower::{Service, ServiceExt as _};

/// Creates a signed request with this body.
pub fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let body = body.into();
    Request::post("/webhook")
        .header("Stripe-Signature", signature(&body))
        .body(Full::new(body))
        .expect("method, path and header are valid")
}

/// Sends the request and reads the response with [`read`].
pub async fn send<S, B>(endpoint: S, request: Request<B>) -> Response<String>
where
    S: Service<Request<B>, Response = router_core::endpoint::Response, Error = Infallible>,
{
    let response = endpoint.oneshot(request).await;
    read(response.expect("an endpoint is infallible")).await
}

/// Reads the body and checks that it is one line of JSON, as in every response of an endpoint.
pub async fn read(response: router_core::endpoint::Response) -> Response<String> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a response body does not fail").to_bytes();
    let body = String::from_utf8(body.into()).expect("JSON is UTF-8");
    assert_eq!(parts.headers["content-type"], "application/json");
    assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
    assert!(!body.contains(['\n', '\r']), "{body}");
    Response::from_parts(parts, body)
}
