//! The endpoint: a tower `Service<http::Request<B>>`. Here the walk of a request stands step by
//! step.

use std::{
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use tower_service::Service;
use tracing::Instrument as _;

use super::{
    Answer, Refusal, Response, SecretProvider,
    api_version::ExpectedVersion,
    limit::{BodyLimit, RawBody, post_only},
};
use crate::{
    clock::{Clock, SystemClock, within},
    event::Event,
    handler::BoxError,
    signature::{Secrets, Tolerance, VerifiedPayload, verify},
    telemetry,
};

/// Turns an HTTP request into an [`Event`] for the service behind it, or refuses it.
///
/// The service behind it is any tower `Service<Event>`: a [`Router`](crate::Router), or one with
/// layers around it. What it answers becomes the response ([`Answer`]); its error is 503, so that
/// Stripe sends the event again.
///
/// It is always ready: the service behind it is waited for only once a request is verified, so that
/// an unsigned request that stalls holds no permit of a concurrency limit. It never fails: every
/// outcome is a response, and a response carries the [`Report`](crate::Report) or the [`Refusal`]
/// in its extensions.
///
/// ```
/// use router_core::{Endpoint, Event, Router, SigningSecret};
///
/// let router = Router::builder()
///     .handler("log", ["*"], async |event: Event| println!("{event:?}"))
///     .build()?;
/// let endpoint = Endpoint::new(SigningSecret::new("whsec_test")?, router);
/// # let _ = endpoint;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Deployment caveat
///
/// The signature is over the body byte for byte. A proxy that rewrites bodies, or a framework layer
/// that parses them first, makes every signature fail.
pub struct Endpoint<S, P = Secrets> {
    inner: S,
    provider: Arc<P>,
    tolerance: Tolerance,
    limit: BodyLimit,
    timeout: Duration,
    api_version: Option<Arc<ExpectedVersion>>,
    clock: Arc<dyn Clock>,
}

impl<S> Endpoint<S> {
    /// An endpoint whose requests are signed with one of these secrets.
    pub fn new(secrets: impl Into<Secrets>, inner: S) -> Self {
        Self::with_provider(secrets.into(), inner)
    }

    /// The same endpoint with other secrets.
    #[cfg(feature = "testing")]
    pub(crate) fn with_secrets(self, secrets: impl Into<Secrets>) -> Self {
        Self { provider: Arc::new(secrets.into()), ..self }
    }
}

impl<S, P: SecretProvider> Endpoint<S, P> {
    /// An endpoint that asks for each request which secrets it may be signed with.
    pub fn with_provider(provider: P, inner: S) -> Self {
        Self {
            inner,
            provider: Arc::new(provider),
            tolerance: Tolerance::default(),
            limit: BodyLimit { bytes: 1024 * 1024, time: Duration::from_secs(10) },
            timeout: Duration::from_secs(30),
            api_version: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// How old a signature may be; 300 s by default.
    #[must_use]
    pub fn tolerance(self, tolerance: Tolerance) -> Self {
        Self { tolerance, ..self }
    }

    /// How large a body may be, in bytes; 1 MiB by default.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.limit.bytes = bytes;
        self
    }

    /// How long it may take to read a body; 10 s by default.
    #[must_use]
    pub fn body_timeout(mut self, time: Duration) -> Self {
        self.limit.time = time;
        self
    }

    /// How long it may take to handle an event, the wait for a service that is not ready included; 30 s by
    /// default. The answer is then 503, so that Stripe sends the event again. A [`Router`](crate::Router)'s
    /// handlers that have begun go on, and an event that comes again waits for them or finds them finished.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Warns, once per version, of events that are written in another API version than this one, as
    /// in `2026-10-28.endive`: what they carry may not decode into the handlers' types. Versions of one
    /// [release train](https://docs.stripe.com/api/versioning), which is what stands behind the dot,
    /// are the same here. Thin events name no version and pass.
    #[must_use]
    pub fn expect_api_version(self, version: &str) -> Self {
        let expected = ExpectedVersion::new(version, false);
        Self { api_version: Some(Arc::new(expected)), ..self }
    }

    /// As [`expect_api_version`](Endpoint::expect_api_version), and refuses such an event with 400:
    /// Stripe sends it again for up to three days, in which the endpoint's version can be set right.
    #[must_use]
    pub fn require_api_version(self, version: &str) -> Self {
        let expected = ExpectedVersion::new(version, true);
        Self { api_version: Some(Arc::new(expected)), ..self }
    }

    /// The same endpoint around another service.
    #[cfg(feature = "testing")]
    pub(crate) fn map_inner<T>(self, map: impl FnOnce(S) -> T) -> Endpoint<T, P> {
        Endpoint {
            inner: map(self.inner),
            provider: self.provider,
            tolerance: self.tolerance,
            limit: self.limit,
            timeout: self.timeout,
            api_version: self.api_version,
            clock: self.clock,
        }
    }

    /// Where time comes from; the machine's clock by default.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }
}

impl<S> Endpoint<S>
where
    S: Service<Event, Response: Into<Answer>, Error: Into<BoxError>> + Clone,
{
    /// Takes a request that a server with HTTP types of its own has read: the value of its
    /// `Stripe-Signature` header and its body.
    pub async fn receive(&self, signature: Option<&[u8]>, body: Bytes) -> Response {
        let secrets = (*self.provider).clone();
        let accept = pin!(async {
            let body = self.limit.check(body)?;
            self.accept(&secrets, signature, body).await
        });
        self.respond(accept).await
    }
}

impl<S, P> Endpoint<S, P>
where
    S: Service<Event, Response: Into<Answer>, Error: Into<BoxError>> + Clone,
    P: SecretProvider,
{
    /// Whatever becomes of a request is a response, and is logged and counted.
    async fn respond(
        &self,
        walk: Pin<&mut impl Future<Output = Result<Answer, Refusal>>>,
    ) -> Response {
        let respond = pin!(async {
            let request = telemetry::Request::begin(self.clock.monotonic());
            let response = match walk.await {
                Ok(answer) => Response::from(answer),
                Err(refusal) => {
                    refusal.log();
                    refusal.into()
                }
            };
            request.end(response.status(), self.clock.monotonic());
            response
        });
        respond.instrument(telemetry::request_span()).await
    }

    /// A request, up to its body.
    async fn walk<B>(&self, request: http::Request<B>) -> Result<Answer, Refusal>
    where
        B: Body<Error: Into<BoxError>>,
    {
        let (parts, body) = request.into_parts();
        telemetry::request_method(&parts.method);
        post_only(&parts.method)?;
        let secrets = self.provider.secrets(&parts).await;
        let secrets = secrets.map_err(|error| Refusal::NoSecrets(error.into()))?;
        let secrets = secrets.ok_or(Refusal::NoEndpoint)?;
        let body = self.limit.read(&parts.headers, body, &*self.clock).await?;
        let signature = parts.headers.get("stripe-signature").map(http::HeaderValue::as_bytes);
        self.accept(&secrets, signature, body).await
    }

    /// From a body to an answer.
    async fn accept(
        &self,
        secrets: &Secrets,
        signature: Option<&[u8]>,
        body: RawBody,
    ) -> Result<Answer, Refusal> {
        let now = self.clock.wall();
        let verified = verify(signature, body.into_bytes(), secrets, self.tolerance, now)?;
        warn_if_ahead(&verified);
        let event = Event::parse(verified)?;
        if let Some(expected) = &self.api_version {
            expected.check(&event)?;
        }
        let mut inner = self.inner.clone();
        let answer = pin!(async {
            poll_fn(|context| inner.poll_ready(context)).await?;
            inner.call(event).await
        });
        match within(self.timeout, &*self.clock, answer).await {
            Some(Ok(answer)) => Ok(answer.into()),
            Some(Err(error)) => Err(Refusal::unavailable(error)),
            None => Err(Refusal::TimedOut { limit: self.timeout }),
        }
    }
}

impl<S, P, B> Service<http::Request<B>> for Endpoint<S, P>
where
    S: Service<Event, Response: Into<Answer>, Error: Into<BoxError>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    P: SecretProvider,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let endpoint = self.clone();
        Box::pin(async move { Ok(endpoint.respond(pin!(endpoint.walk(request))).await) })
    }
}

/// One second is no news: a signature's time is cut to the second, so that a clock which lags by
/// some milliseconds is now and then a second behind.
fn warn_if_ahead(verified: &VerifiedPayload) {
    let ahead = verified.ahead().as_secs();
    if ahead > 1 {
        telemetry::signature_ahead();
        tracing::warn!(
            ahead,
            "the signature's time is {ahead} s ahead of our clock: set this machine's clock; \
             the event is accepted"
        );
    }
}

impl<S: Clone, P> Clone for Endpoint<S, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            provider: self.provider.clone(),
            tolerance: self.tolerance,
            limit: self.limit,
            timeout: self.timeout,
            api_version: self.api_version.clone(),
            clock: self.clock.clone(),
        }
    }
}

impl<S: fmt::Debug, P> fmt::Debug for Endpoint<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("inner", &self.inner)
            .field("tolerance", &self.tolerance)
            .field("limit", &self.limit)
            .field("timeout", &self.timeout)
            .field("api_version", &self.api_version)
            .finish_non_exhaustive()
    }
}
