//! [`Endpoint`], a tower `Service<http::Request<B>>`.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use tower_service::Service;

use super::{
    EventService, Response, SecretProvider,
    api_version::ExpectedVersion,
    budget::BodyBudget,
    limit::BodyLimit,
    pipeline::{Settings, require_secrets},
    request_facts::RequestFacts,
};
use crate::{
    clock::{Clock, SystemClock},
    handler::BoxError,
    signature::{Secrets, Tolerance},
};

/// Turns an HTTP request into a verified [`Event`](crate::Event) for the inner service, or refuses
/// it.
///
/// The inner service is any tower `Service<Event>`: a [`Router`](crate::Router), or a router with
/// layers around it. Its response becomes an [`Answer`] to Stripe. If it fails, the answer is 503,
/// so that Stripe sends the event again.
///
/// An endpoint is always ready. It waits for the inner service only once a request is verified, so
/// that an unsigned request that stalls holds no permit of a concurrency limit. An endpoint
/// never fails: every outcome is a response. Its extensions have the
/// [`Report`](crate::handler::Report), the inner service's own
/// [extension](super::Answer::with_extension), or the [`Refusal`](crate::endpoint::Refusal).
///
/// [`Answer`]: super::Answer
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
/// # Limits
///
/// Anyone can send a request. A request whose `Stripe-Signature` header is missing, malformed or
/// too old is refused before its body is read. The limits of a body are its
/// [size](Endpoint::body_limit), the [time](Endpoint::body_timeout) to read it, and a
/// [budget](Endpoint::body_budget) for all unfinished bodies together.
///
/// # Proxies and layers
///
/// The signature covers the body byte for byte. If a proxy rewrites bodies, or a framework layer
/// parses them first, every signature fails.
pub struct Endpoint<S, P = Secrets> {
    inner: S,
    /// In one `Arc`, because each request clones the endpoint.
    settings: Arc<Settings<P>>,
}

impl<S: EventService> Endpoint<S> {
    /// Creates an endpoint whose requests are signed with one of these secrets.
    ///
    /// Logs a warning if a secret does not begin with `whsec_`, and an error if two endpoints have
    /// the same secret, which [`Secrets::parse`] refuses.
    pub fn new(secrets: impl Into<Secrets>, inner: S) -> Self {
        let endpoint = Self::with_provider(secrets.into(), inner);
        endpoint.settings.log_suspicious(&endpoint.settings.provider);
        endpoint
    }
}

#[cfg(feature = "testing")]
impl<S> Endpoint<S> {
    /// Replaces the secrets.
    pub(crate) fn with_secrets(self, secrets: impl Into<Secrets>) -> Self {
        let provider = Arc::new(secrets.into());
        self.set(|settings| settings.provider = provider)
    }
}

impl<S, P: SecretProvider> Endpoint<S, P> {
    /// Creates an endpoint that asks a [`SecretProvider`] for the secrets of each request.
    pub fn with_provider(provider: P, inner: S) -> Self
    where
        S: EventService,
    {
        let settings = Settings {
            provider: Arc::new(provider),
            tolerance: Tolerance::default(),
            limit: BodyLimit { bytes: 1024 * 1024, time: Duration::from_secs(10) },
            budget: BodyBudget::new(64 * 1024 * 1024),
            timeout: Duration::from_secs(30),
            api_version: None,
            prefix_logged: Arc::default(),
            test_id_logged: Arc::default(),
            clock: Arc::new(SystemClock),
        };
        Self { inner, settings: Arc::new(settings) }
    }

    /// Sets the limits on the age of a signature. Default: 300 s old at most, with no limit on
    /// times in the future.
    #[must_use]
    pub fn tolerance(self, tolerance: Tolerance) -> Self {
        self.set(|settings| settings.tolerance = tolerance)
    }

    /// Sets the maximum size of a body, in bytes. Default: 1 MiB.
    #[must_use]
    pub fn body_limit(self, bytes: usize) -> Self {
        self.set(|settings| settings.limit.bytes = bytes)
    }

    /// Sets the timeout for reading a whole body. Default: 10 s.
    #[must_use]
    pub fn body_timeout(self, time: Duration) -> Self {
        self.set(|settings| settings.limit.time = time)
    }

    /// Sets the maximum size of all unfinished bodies together, in bytes. The endpoint and its
    /// clones share this budget. Default: 64 MiB.
    ///
    /// A body is unfinished until all of it has arrived. Its signature is then verified at once. If
    /// the budget is exhausted, the bodies that have been unfinished for longest are answered with
    /// 503 to make room, and Stripe sends such an event again. Senders that stall thus lose their
    /// share first, at the latest after the [body timeout](Endpoint::body_timeout).
    #[must_use]
    pub fn body_budget(self, bytes: usize) -> Self {
        self.set(|settings| settings.budget = BodyBudget::new(bytes))
    }

    /// Sets the timeout for handling an event. It includes the wait for an inner service that is
    /// not ready. The lookup of a request's secrets has the same timeout. Default: 30 s.
    ///
    /// An event that takes longer is answered with 503, so that Stripe sends it again. Handlers of
    /// a [`Router`](crate::Router) that have started keep running; when the event comes again, it
    /// waits for them, or finds them finished.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.timeout = timeout)
    }

    /// Sets the API version that events should have, such as `2026-10-28.endive`. Logs a warning,
    /// once per version, about events of another version: their objects may not decode into the
    /// handlers' types.
    ///
    /// Versions of one [release train](https://docs.stripe.com/api/versioning), the part after the
    /// dot, count as equal. A preview (`2026-10-28.preview`) and an older version without a train
    /// equal only themselves. The flags of a version, as in
    /// `2026-10-28.endive;managed_payments_preview=v1`, are not compared. Thin events name no
    /// version and pass.
    ///
    /// # Panics
    ///
    /// Panics if `version` is neither a date nor a date with a release train.
    #[must_use]
    #[track_caller]
    pub fn expect_api_version(self, version: &str) -> Self {
        let expected = ExpectedVersion::new(version, false);
        self.set(|settings| settings.api_version = Some(Arc::new(expected)))
    }

    /// Refuses events of another API version with 400, instead of the warning of
    /// [`expect_api_version`](Endpoint::expect_api_version). Stripe sends such an event again for
    /// up to three days, so there is time to create an endpoint of this version at Stripe.
    ///
    /// # Panics
    ///
    /// Panics if `version` is neither a date nor a date with a release train.
    #[must_use]
    #[track_caller]
    pub fn require_api_version(self, version: &str) -> Self {
        let expected = ExpectedVersion::new(version, true);
        self.set(|settings| settings.api_version = Some(Arc::new(expected)))
    }

    /// Replaces the inner service.
    #[cfg(feature = "testing")]
    pub(crate) fn map_inner<T>(self, map: impl FnOnce(S) -> T) -> Endpoint<T, P> {
        Endpoint { inner: map(self.inner), settings: self.settings }
    }

    /// Sets the source of time. Default: the machine's clock.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.set(|settings| settings.clock = Arc::new(clock))
    }

    fn set(mut self, change: impl FnOnce(&mut Settings<P>)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S: EventService + Clone> Endpoint<S> {
    /// Processes a request of a server with HTTP types of its own, given the value of its
    /// `Stripe-Signature` header and its body.
    ///
    /// The server has read the body, so it must limit the size of the body and the time to read it.
    /// [`receive_body`](Endpoint::receive_body) reads the body under the endpoint's limits instead.
    /// With a [`SecretProvider`], which needs the request's head, use
    /// [`receive_request`](Endpoint::receive_request). For a request from a queue, use
    /// [`receive_at`](Endpoint::receive_at).
    pub async fn receive(&self, signature: Option<&[u8]>, body: Bytes) -> http::Response<Bytes> {
        let (settings, mut inner) = (&self.settings, self.inner.clone());
        let steps = pin!(async {
            require_secrets(&settings.provider)?;
            let body = settings.limit.check(body)?;
            let signature = settings.check_header(signature)?;
            let event = settings.verify(&settings.provider, signature, body)?;
            settings.handle(event, &mut inner).await
        });
        settings.respond(&RequestFacts::default(), steps).await
    }

    /// Processes a request like [`receive`](Endpoint::receive), and reads its body under the
    /// [limits](Endpoint#limits) of this endpoint. The server must not limit the body to less than
    /// [`Endpoint::body_limit`].
    ///
    /// The body need not be `Send`, and may borrow from the caller. `http_body_util::StreamBody`
    /// makes a body of a stream of bytes.
    pub async fn receive_body<B>(&self, signature: Option<&[u8]>, body: B) -> http::Response<Bytes>
    where
        B: Body<Error: Into<BoxError>>,
    {
        let (settings, mut inner) = (&self.settings, self.inner.clone());
        let steps = pin!(async {
            require_secrets(&settings.provider)?;
            settings.limit.check_declared(&HeaderMap::new(), &body)?;
            let signature = settings.check_header(signature)?;
            let body = settings.limit.read(body, &settings.budget, &*settings.clock).await?;
            let event = settings.verify(&settings.provider, signature, body)?;
            settings.handle(event, &mut inner).await
        });
        settings.respond(&RequestFacts::default(), steps).await
    }
}

impl<S: EventService + Clone, P: SecretProvider> Endpoint<S, P> {
    /// Processes a request whose body was read at `received_at`, such as one from a queue.
    ///
    /// The age of the signature is checked against `received_at`, so that a request may wait in the
    /// queue for longer than the [tolerance](Endpoint::tolerance). It must be the time at which
    /// this program, or a server that it trusts, received the request. A time that the sender
    /// states would let anyone send a recorded request again.
    ///
    /// The [`SecretProvider`] gets the method, the URI and the headers. The caller thus stores,
    /// next to the body, the header `Stripe-Signature` and all that the provider reads.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use bytes::Bytes;
    /// # use router_core::{Endpoint, Router, endpoint::SecretProvider};
    /// struct Queued { path: String, signature: String, body: Bytes, received_at: SystemTime }
    ///
    /// async fn handle(
    ///     endpoint: &Endpoint<Router, impl SecretProvider>,
    ///     queued: Queued,
    /// ) -> Result<http::Response<Bytes>, http::Error> {
    ///     let request = http::Request::post(queued.path)
    ///         .header("stripe-signature", queued.signature)
    ///         .body(queued.body)?;
    ///     Ok(endpoint.receive_at(request, queued.received_at).await)
    /// }
    /// ```
    pub async fn receive_at(
        &self,
        request: http::Request<Bytes>,
        received_at: SystemTime,
    ) -> http::Response<Bytes> {
        let (settings, mut inner) = (&self.settings, self.inner.clone());
        let facts = RequestFacts::new(&request);
        let steps = pin!(settings.process_received(request, received_at, &mut inner));
        settings.respond(&facts, steps).await
    }

    /// Processes a request of a server with HTTP types of its own, whose body the server has just
    /// read. The [`SecretProvider`] gets the method, the URI and the headers.
    ///
    /// See [`receive_at`](Endpoint::receive_at) for an example.
    pub async fn receive_request(&self, request: http::Request<Bytes>) -> http::Response<Bytes> {
        let now = self.settings.clock.wall();
        self.receive_at(request, now).await
    }
}

impl<S, P, B> Service<http::Request<B>> for Endpoint<S, P>
where
    S: EventService<Future: Send> + Clone + Send + Sync + 'static,
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
            let facts = RequestFacts::new(&request);
            let steps = pin!(settings.process(request, &mut inner));
            Ok(settings.respond(&facts, steps).await)
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
            .field("body_budget", &self.settings.budget.limit())
            .field("timeout", &self.settings.timeout)
            .field("api_version", &self.settings.api_version)
            .finish_non_exhaustive()
    }
}
