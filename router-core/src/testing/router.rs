//! [`TestRouter`], a router behind an endpoint to which a test delivers events.

use std::{fmt::Display, future::Future, time::SystemTime};

use bytes::Bytes;
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{ManualClock, Payload, payload::signed_request};
use crate::{
    build::{BuildError, RouterBuilder},
    clock::{Clock as _, SystemClock},
    endpoint::{Endpoint, EventService, FullBody, Refusal, Response},
    handler::{BoxError, HandlerReport, Report},
    routing::Router,
    signature::{Secrets, SigningSecret, claimed_time},
};

/// A [`Router`] behind an [`Endpoint`], as in production, with a clock that the test moves.
///
/// Events are signed, sent as requests, verified, parsed and routed. Only the socket is missing.
///
/// ```standalone_crate
/// use router_core::{Object, Router, on_event, testing::{SyntheticEvent, TestRouter}};
///
/// #[derive(serde::Deserialize)]
/// struct Invoice { amount_paid: i64 }
///
/// #[on_event("invoice.paid", name = "orders.fulfil")]
/// async fn fulfil(invoice: Object<Invoice>) -> Result<(), std::io::Error> {
///     match invoice.amount_paid {
///         500 => Ok(()),
///         _ => Err(std::io::Error::other("the warehouse is down")),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), router_core::build::BuildError> {
/// let shop = TestRouter::new(Router::builder().only::<fulfil>())?;
///
/// let answer = shop.deliver(SyntheticEvent::new("invoice.paid").set("amount_paid", 500)).await;
/// assert!(answer.handler("orders.fulfil").is_done());
///
/// let answer = shop.deliver(SyntheticEvent::new("invoice.paid").set("amount_paid", 7)).await;
/// assert_eq!(answer.status(), 500); // Stripe will send it again.
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TestRouter<S = Router> {
    endpoint: Endpoint<S>,
    secret: SigningSecret,
    clock: ManualClock,
}

/// The response to a delivered event, with the report or the refusal behind it.
#[derive(Debug)]
pub struct TestResponse(http::Response<Bytes>);

impl TestRouter {
    /// Builds the router, with a clock that moves only when
    /// [the test advances it](TestRouter::clock).
    ///
    /// # Errors
    ///
    /// Fails if the router cannot be built. [`BuildError`] lists every problem.
    pub fn new(router: RouterBuilder) -> Result<Self, BuildError> {
        let clock = ManualClock::at(SystemClock.wall());
        let router = router.clock(clock.clone()).build()?;
        Ok(Self::with_service(router, clock))
    }
}

impl<S: EventService> TestRouter<S> {
    /// Creates an endpoint in front of another service, such as an inbox. The endpoint uses this
    /// clock.
    #[expect(clippy::missing_panics_doc, reason = "the secret is valid")]
    #[must_use]
    pub fn with_service(service: S, clock: ManualClock) -> Self {
        let secret = SigningSecret::new("whsec_of_a_test").expect("the secret is valid");
        let endpoint = Endpoint::new(secret.clone(), service).clock(clock.clone());
        Self { endpoint, secret, clock }
    }
}

impl<S> TestRouter<S> {
    /// Sets the name of the endpoint that events are delivered to, for handlers with
    /// `endpoint = "…"`.
    #[must_use]
    pub fn named(self, endpoint: &str) -> Self {
        let secret = self.secret.named(endpoint);
        Self { endpoint: self.endpoint.with_secrets(secret.clone()), secret, ..self }
    }

    /// Configures the endpoint, as in production: `|endpoint| endpoint.require_api_version(…)`.
    #[must_use]
    pub fn endpoint(self, configure: impl FnOnce(Endpoint<S>) -> Endpoint<S>) -> Self {
        Self { endpoint: configure(self.endpoint), ..self }
    }

    /// Wraps the router in a layer, such as one used in production, or [`Chaos`](super::Chaos).
    #[must_use]
    pub fn layer<L: Layer<S>>(self, layer: L) -> TestRouter<L::Service> {
        self.map_service(|inner| layer.layer(inner))
    }

    /// Replaces the service behind the endpoint. The endpoint keeps its settings.
    #[must_use]
    pub fn map_service<T>(self, map: impl FnOnce(S) -> T) -> TestRouter<T> {
        let endpoint = self.endpoint.map_inner(map);
        TestRouter { endpoint, secret: self.secret, clock: self.clock }
    }

    /// Returns the clock, to advance it: `shop.clock().advance(Duration::from_secs(30))`.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

impl<S> TestRouter<S>
where
    S: EventService<Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    /// Signs an event, sends it, and waits for the answer.
    ///
    /// Takes a [`SyntheticEvent`](super::SyntheticEvent) or a [`Payload`], or a `&Payload` to
    /// deliver the same event again.
    ///
    /// # Panics
    ///
    /// Panics if the synthetic event cannot be built, because its type or a field does not exist.
    #[track_caller]
    pub fn deliver<E>(&self, event: E) -> impl Future<Output = TestResponse> + Send + use<E, S>
    where
        E: TryInto<Payload, Error: Display>,
    {
        let payload = event.try_into().unwrap_or_else(|error| panic!("{error}"));
        let request = payload.request_at(&self.secret, self.clock.wall());
        let test = self.clone();
        async move { test.send(request).await }
    }

    /// Sends a request unchanged, such as one without a signature or with a wrong one.
    pub async fn send<B>(&self, request: http::Request<B>) -> TestResponse
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        TestResponse::read(self.endpoint.clone().call(request).await).await
    }

    /// Sends a request that was recorded in production, given the value of its `Stripe-Signature`
    /// header, its body, and the secrets of its endpoint.
    ///
    /// The signature is verified at the time at which Stripe signed the request. If you do not have
    /// the secret, deliver [`Payload::recorded`] instead.
    pub async fn replay(
        &self,
        signature: &str,
        body: impl Into<Bytes>,
        secrets: impl Into<Secrets>,
    ) -> TestResponse {
        let signed_at = claimed_time(signature.as_bytes()).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut endpoint =
            self.endpoint.clone().with_secrets(secrets).clock(ManualClock::at(signed_at));
        TestResponse::read(endpoint.call(signed_request(signature, body.into())).await).await
    }
}

impl TestResponse {
    async fn read(response: Result<Response, std::convert::Infallible>) -> Self {
        let Ok(response) = response;
        Self(response.map(FullBody::into_bytes))
    }

    /// Returns the status, as Stripe sees it.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// Returns the whole response.
    #[must_use]
    pub fn response(&self) -> &http::Response<Bytes> {
        &self.0
    }

    /// Returns the report of the router, or `None` if the request was refused.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.0.extensions().get()
    }

    /// Returns the refusal, or `None` if the request was not refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.0.extensions().get()
    }

    /// Returns the report of the handler with this stable name.
    ///
    /// # Panics
    ///
    /// Panics if the handler was not called. The message states what happened instead.
    #[track_caller]
    #[must_use]
    pub fn handler(&self, name: &str) -> &HandlerReport {
        match (self.report(), self.refusal()) {
            (Some(report), _) => report.handler(name).unwrap_or_else(|| {
                let called: Vec<_> = report.handlers().iter().map(HandlerReport::name).collect();
                panic!(
                    "`{name}` was not called for `{}`; handlers called: {called:?}",
                    report.event().event_type()
                )
            }),
            (None, Some(refusal)) => panic!("no handler was called: {refusal}"),
            (None, None) => panic!("no handler was called: a layer answered {}", self.0.status()),
        }
    }
}
