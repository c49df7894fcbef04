//! The endpoint: a tower `Service<http::Request<B>>`.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use tower_service::Service;

use super::{
    Answer, Response, SecretProvider, api_version::ExpectedVersion, limit::BodyLimit,
    walk::Settings,
};
use crate::{
    clock::{Clock, SystemClock},
    event::Event,
    handler::BoxError,
    signature::{Secrets, Tolerance},
};

/// Turns an HTTP request into an [`Event`] for the service behind it, or refuses it.
///
/// The service behind it is any tower `Service<Event>`: a [`Router`](crate::Router), or one with
/// layers around it. What it answers becomes the response ([`Answer`]); its error is 503, so that
/// Stripe sends the event again.
///
/// It is always ready: the service behind it is waited for only once a request is verified, so that
/// an unsigned request that stalls holds no permit of a concurrency limit. It never fails: every
/// outcome is a response, and a response carries the [`Report`](crate::Report) or the [`Refusal`](crate::Refusal)
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
    /// Behind one count of who has them: each request is one.
    settings: Arc<Settings<P>>,
}

impl<S> Endpoint<S> {
    /// An endpoint whose requests are signed with one of these secrets.
    pub fn new(secrets: impl Into<Secrets>, inner: S) -> Self {
        Self::with_provider(secrets.into(), inner)
    }

    /// The same endpoint with other secrets.
    #[cfg(feature = "testing")]
    pub(crate) fn with_secrets(self, secrets: impl Into<Secrets>) -> Self {
        let provider = Arc::new(secrets.into());
        self.set(|settings| settings.provider = provider)
    }
}

impl<S, P: SecretProvider> Endpoint<S, P> {
    /// An endpoint that asks for each request which secrets it may be signed with.
    pub fn with_provider(provider: P, inner: S) -> Self {
        let settings = Settings {
            provider: Arc::new(provider),
            tolerance: Tolerance::default(),
            limit: BodyLimit { bytes: 1024 * 1024, time: Duration::from_secs(10) },
            timeout: Duration::from_secs(30),
            api_version: None,
            clock: Arc::new(SystemClock),
        };
        Self { inner, settings: Arc::new(settings) }
    }

    /// How old a signature may be; 300 s by default.
    #[must_use]
    pub fn tolerance(self, tolerance: Tolerance) -> Self {
        self.set(|settings| settings.tolerance = tolerance)
    }

    /// How large a body may be, in bytes; 1 MiB by default.
    #[must_use]
    pub fn body_limit(self, bytes: usize) -> Self {
        self.set(|settings| settings.limit.bytes = bytes)
    }

    /// How long it may take to read a body; 10 s by default.
    #[must_use]
    pub fn body_timeout(self, time: Duration) -> Self {
        self.set(|settings| settings.limit.time = time)
    }

    /// How long it may take to handle an event, the wait for a service that is not ready included; 30 s by
    /// default. The answer is then 503, so that Stripe sends the event again. A [`Router`](crate::Router)'s
    /// handlers that have begun go on, and an event that comes again waits for them or finds them finished.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.timeout = timeout)
    }

    /// Warns, once per version, of events that are written in another API version than this one, as
    /// in `2026-10-28.endive`: what they carry may not decode into the handlers' types. Versions of one
    /// [release train](https://docs.stripe.com/api/versioning), which is what stands behind the dot,
    /// are the same here. Thin events name no version and pass.
    #[must_use]
    pub fn expect_api_version(self, version: &str) -> Self {
        let expected = ExpectedVersion::new(version, false);
        self.set(|settings| settings.api_version = Some(Arc::new(expected)))
    }

    /// As [`expect_api_version`](Endpoint::expect_api_version), and refuses such an event with 400:
    /// Stripe sends it again for up to three days, in which the endpoint's version can be set right.
    #[must_use]
    pub fn require_api_version(self, version: &str) -> Self {
        let expected = ExpectedVersion::new(version, true);
        self.set(|settings| settings.api_version = Some(Arc::new(expected)))
    }

    /// The same endpoint around another service.
    #[cfg(feature = "testing")]
    pub(crate) fn map_inner<T>(self, map: impl FnOnce(S) -> T) -> Endpoint<T, P> {
        Endpoint { inner: map(self.inner), settings: self.settings }
    }

    /// Where time comes from; the machine's clock by default.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.set(|settings| settings.clock = Arc::new(clock))
    }

    fn set(mut self, set: impl FnOnce(&mut Settings<P>)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S> Endpoint<S>
where
    S: Service<Event, Response: Into<Answer>, Error: Into<BoxError>> + Clone,
{
    /// Takes a request that a server with HTTP types of its own has read: the value of its
    /// `Stripe-Signature` header and its body.
    pub async fn receive(&self, signature: Option<&[u8]>, body: Bytes) -> Response {
        let (settings, mut inner) = (&self.settings, self.inner.clone());
        let walk = pin!(async {
            let body = settings.limit.check(body)?;
            let event = settings.event(&settings.provider, signature, body)?;
            settings.handle(event, &mut inner).await
        });
        settings.respond(None, walk).await
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
        let Self { mut inner, settings } = self.clone();
        Box::pin(async move {
            let method = request.method().clone();
            let walk = pin!(settings.walk(request, &mut inner));
            Ok(settings.respond(Some(&method), walk).await)
        })
    }
}

impl<S: Clone, P> Clone for Endpoint<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), settings: self.settings.clone() }
    }
}

impl<S: fmt::Debug, P> fmt::Debug for Endpoint<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("inner", &self.inner)
            .field("tolerance", &self.settings.tolerance)
            .field("limit", &self.settings.limit)
            .field("timeout", &self.settings.timeout)
            .field("api_version", &self.settings.api_version)
            .finish_non_exhaustive()
    }
}
