//! A router behind an endpoint, as in production, for a test to deliver events to.

use std::{fmt::Display, future::Future, time::SystemTime};

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use tower_layer::Layer;
use tower_service::Service;

use super::{ManualClock, Payload, payload::signed_request};
use crate::{
    build::{BuildError, RouterBuilder},
    clock::{Clock as _, SystemClock},
    endpoint::{Answer, Endpoint, Refusal, Response},
    event::Event,
    handler::{BoxError, HandlerReport, Report},
    routing::Router,
    signature::{Secrets, SigningSecret, claimed_time},
};

/// A [`Router`] behind an [`Endpoint`], as in production, and a clock that the test moves. Events are
/// signed, sent as requests, verified, parsed and routed; only the socket is missing.
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
/// # async fn main() -> Result<(), router_core::BuildError> {
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

/// What an event was answered, and why.
#[derive(Debug)]
pub struct TestResponse(http::Response<Bytes>);

impl TestRouter {
    /// Builds the router, with a clock that stands still until [it is moved](TestRouter::clock). The
    /// builder says which handlers and states it has.
    ///
    /// # Errors
    ///
    /// [`BuildError`] with everything that is wrong.
    #[expect(clippy::missing_panics_doc, reason = "the secret is one")]
    pub fn new(router: RouterBuilder) -> Result<Self, BuildError> {
        let clock = ManualClock::at(SystemClock.wall());
        let router = router.clock(clock.clone()).build()?;
        let secret = SigningSecret::new("whsec_of_a_test").expect("it is one");
        let endpoint = Endpoint::new(secret.clone(), router).clock(clock.clone());
        Ok(Self { endpoint, secret, clock })
    }
}

impl<S> TestRouter<S> {
    /// The endpoint through which the events come, for handlers with `endpoint = "…"`.
    #[must_use]
    pub fn named(self, endpoint: &str) -> Self {
        let secret = self.secret.named(endpoint);
        Self { endpoint: self.endpoint.with_secrets(secret.clone()), secret, ..self }
    }

    /// Sets the endpoint up as in production: `|endpoint| endpoint.require_api_version(…)`.
    #[must_use]
    pub fn endpoint(self, set_up: impl FnOnce(Endpoint<S>) -> Endpoint<S>) -> Self {
        Self { endpoint: set_up(self.endpoint), ..self }
    }

    /// Puts a layer around the router: one of production's, or [`Chaos`](super::Chaos).
    #[must_use]
    pub fn layer<L: Layer<S>>(self, layer: L) -> TestRouter<L::Service> {
        let endpoint = self.endpoint.map_inner(|inner| layer.layer(inner));
        TestRouter { endpoint, secret: self.secret, clock: self.clock }
    }

    /// Its clock: `shop.clock().advance(Duration::from_secs(30))`.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

impl<S> TestRouter<S>
where
    S: Service<Event, Response: Into<Answer>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    /// Signs an event, sends it, and waits for the answer. Takes a
    /// [`SyntheticEvent`](super::SyntheticEvent) or a [`Payload`], or a `&Payload` that is to be delivered
    /// again.
    ///
    /// # Panics
    ///
    /// If the synthetic event cannot be made: its type or a field does not exist.
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

    /// Sends a request as it is: one that is not signed, or wrongly.
    pub async fn send<B>(&self, request: http::Request<B>) -> TestResponse
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        TestResponse::of(self.endpoint.clone().call(request).await).await
    }

    /// Sends a request that was recorded in production, as it was: the value of its `Stripe-Signature`
    /// header, its body, and the secrets of its endpoint. It is verified as if it were the moment in which
    /// Stripe signed it. Where the secret is not at hand, deliver [`Payload::recorded`] instead.
    pub async fn replay(
        &self,
        signature: &str,
        body: impl Into<Bytes>,
        secrets: impl Into<Secrets>,
    ) -> TestResponse {
        let then = claimed_time(signature.as_bytes()).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut endpoint = self.endpoint.clone().with_secrets(secrets).clock(ManualClock::at(then));
        TestResponse::of(endpoint.call(signed_request(signature, body.into())).await).await
    }
}

impl TestResponse {
    async fn of(response: Result<Response, std::convert::Infallible>) -> Self {
        let Ok(response) = response;
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await;
        Self(http::Response::from_parts(parts, body.to_bytes()))
    }

    /// The status, as Stripe sees it.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// The whole response.
    #[must_use]
    pub fn response(&self) -> &http::Response<Bytes> {
        &self.0
    }

    /// What became of the event; none where the request was refused.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.0.extensions().get()
    }

    /// Why the request was refused, if it was.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.0.extensions().get()
    }

    /// What the handler of this stable name made of the event.
    ///
    /// # Panics
    ///
    /// If it was not called, with what happened instead.
    #[track_caller]
    #[must_use]
    pub fn handler(&self, name: &str) -> &HandlerReport {
        match (self.report(), self.refusal()) {
            (Some(report), _) => report.handler(name).unwrap_or_else(|| {
                let called: Vec<_> = report.handlers().iter().map(HandlerReport::name).collect();
                panic!(
                    "`{name}` was not called for `{}`; called were: {called:?}",
                    report.event().event_type()
                )
            }),
            (None, Some(refusal)) => panic!("no handler was called: {refusal}"),
            (None, None) => panic!("no handler was called: a layer answered {}", self.0.status()),
        }
    }
}
