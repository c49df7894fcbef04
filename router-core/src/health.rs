//! [`HealthEndpoint`], which answers `/healthz` and `/readyz`.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    HeaderValue, Method, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use serde::Serialize;
use tower_service::Service;

use crate::endpoint::Response;

/// A tower `Service<http::Request<B>>` that answers the probes of an orchestrator or a load
/// balancer. Mount it next to the [`Endpoint`](crate::Endpoint).
///
/// | request | answer |
/// |---|---|
/// | `GET /healthz` | 200 `ok`, as long as the process can answer |
/// | `GET /readyz` | 200 if every [check](Self::check) passes, otherwise 503; JSON |
/// | another path | 404 |
/// | another method than GET and HEAD | 405 |
///
/// ```
/// use router_core::{bytes::Bytes, health::HealthEndpoint, http::Request};
/// use tower_service::Service as _;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let shutdown_signal = std::future::pending();
/// let mut health = HealthEndpoint::new().shutdown(shutdown_signal);
/// // In axum: `.route_service("/healthz", health.clone()).route_service("/readyz", health)`.
/// let response = health.call(Request::get("/readyz").body(())?).await?;
/// assert_eq!(response.status(), 200);
/// let body: Bytes = response.into_body().into_bytes();
/// assert_eq!(body, r#"{"ready":true,"reasons":[],"warnings":[]}"#);
/// # Ok(())
/// # }
/// ```
///
/// The answers contain names of handlers. Every client that can reach the paths can read them.
#[derive(Clone, Default)]
pub struct HealthEndpoint {
    checks: Arc<Vec<Arc<dyn ReadinessCheck>>>,
}

/// A condition of readiness, such as a store that can be reached.
#[async_trait]
pub trait ReadinessCheck: Send + Sync + 'static {
    /// Returns the state of the condition.
    ///
    /// Probes call this method every few seconds and often wait for one second only, so it must be
    /// fast, and must not contact another server on each call.
    async fn check(&self) -> Readiness;
}

/// The result of readiness checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// The reasons why the process must get no requests. Empty if the process is ready.
    pub reasons: Vec<Reason>,
    /// Problems that an operator must solve and that do not affect readiness.
    pub warnings: Vec<Reason>,
}

/// A reason why a process is not ready, or a warning.
///
/// `/readyz` shows the reason to every client, so it must contain no secret and no personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reason {
    /// The machine-readable reason, such as `store_unavailable`.
    pub code: &'static str,
    /// The stable names of the handlers concerned, if the reason concerns only some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub handlers: Vec<String>,
    /// The explanation for the operator.
    pub text: String,
}

const NOT_FOUND: &str = "not found; the health checks are /healthz and /readyz\n";

impl HealthEndpoint {
    /// Creates an endpoint without checks, which is always ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check to `/readyz`. All checks must pass.
    #[must_use]
    pub fn check(mut self, check: impl ReadinessCheck) -> Self {
        Arc::make_mut(&mut self.checks).push(Arc::new(check));
        self
    }

    /// Makes `/readyz` answer with 503 once this future has completed. If the server accepts
    /// connections for some time after that, a load balancer sends it no new requests. A server
    /// that closes its listener at once, such as `router_core::server::Server`, refuses the probe.
    #[must_use]
    pub fn shutdown(self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.check(Shutdown(Mutex::new(Some(Box::pin(signal)))))
    }

    /// Runs all checks, like `/readyz`, and returns their results together.
    pub async fn readiness(&self) -> Readiness {
        let mut all = Readiness::default();
        for check in self.checks.iter() {
            let Readiness { reasons, warnings } = check.check().await;
            all.reasons.extend(reasons);
            all.warnings.extend(warnings);
        }
        all
    }

    async fn answer(self, method: Method, path: String) -> Response {
        let is_readyz = match path.as_str() {
            "/healthz" => false,
            "/readyz" => true,
            _ => return text(StatusCode::NOT_FOUND, NOT_FOUND),
        };
        if !matches!(method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if is_readyz { json(&self.readiness().await) } else { text(StatusCode::OK, "ok\n") }
    }
}

impl<B> Service<http::Request<B>> for HealthEndpoint {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let answer = self.clone().answer(request.method().clone(), request.uri().path().to_owned());
        Box::pin(async { Ok(answer.await) })
    }
}

impl fmt::Debug for HealthEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthEndpoint").field("checks", &self.checks.len()).finish()
    }
}

impl Readiness {
    /// Returns whether the process is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl From<Reason> for Readiness {
    /// Creates the result of a check that failed for this reason.
    fn from(reason: Reason) -> Self {
        Self { reasons: vec![reason], warnings: Vec::new() }
    }
}

impl Reason {
    /// Creates a reason that concerns the whole process.
    pub fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, handlers: Vec::new(), text: text.into() }
    }

    /// Sets the stable names of the handlers concerned.
    #[must_use]
    pub fn handlers<N: Into<String>>(self, handlers: impl IntoIterator<Item = N>) -> Self {
        Self { handlers: handlers.into_iter().map(Into::into).collect(), ..self }
    }
}

/// The check of [`HealthEndpoint::shutdown`]: the signal, or `None` once it has completed.
struct Shutdown(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

#[async_trait]
impl ReadinessCheck for Shutdown {
    async fn check(&self) -> Readiness {
        let mut signal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // No task waits for the signal: each probe polls it.
        let mut context = Context::from_waker(Waker::noop());
        if signal.as_mut().is_some_and(|signal| signal.as_mut().poll(&mut context).is_ready()) {
            *signal = None;
        }
        match *signal {
            Some(_) => Readiness::default(),
            None => Reason::new("shutting_down", "the process is shutting down").into(),
        }
    }
}

fn json(readiness: &Readiness) -> Response {
    #[derive(Serialize)]
    struct Body<'r> {
        ready: bool,
        reasons: &'r [Reason],
        warnings: &'r [Reason],
    }
    let Readiness { reasons, warnings } = readiness;
    let ready = readiness.is_ready();
    let body = serde_json::to_vec(&Body { ready, reasons, warnings });
    let body = body.expect("texts and lists of texts serialize");
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response(status, "application/json", body.into())
}

fn text(status: StatusCode, text: &'static str) -> Response {
    response(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // A probe must not get an earlier answer from a cache.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
