//! The steps of a request, in order: method, secrets, signature header, body, signature, envelope,
//! API version, and the call of the inner service.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Method;
use http_body::Body;
use tracing::Instrument as _;

use super::{
    Answer, EventService, Refusal, Response, SecretProvider,
    api_version::ExpectedVersion,
    budget::BodyBudget,
    limit::{BodyLimit, RawBody, require_post},
};
use crate::{
    clock::{Clock, within},
    event::Event,
    handler::BoxError,
    panic_guard::catch_panic,
    signature::{Secrets, Tolerance, UnverifiedSignature, VerifiedPayload},
    telemetry,
};

/// The settings of an [`Endpoint`](super::Endpoint), shared by its clones.
pub(super) struct Settings<P> {
    pub(super) provider: Arc<P>,
    pub(super) tolerance: Tolerance,
    pub(super) limit: BodyLimit,
    pub(super) budget: BodyBudget,
    pub(super) timeout: Duration,
    pub(super) api_version: Option<Arc<ExpectedVersion>>,
    /// `true` once an event with Stripe's test id has been logged.
    pub(super) test_id_logged: Arc<AtomicBool>,
    pub(super) clock: Arc<dyn Clock>,
}

impl<P: SecretProvider> Settings<P> {
    /// Runs the steps of a request in a span, and converts their result to a response. Counts the
    /// request, and logs a refusal.
    pub(super) async fn respond(
        &self,
        method: Option<&Method>,
        steps: Pin<&mut impl Future<Output = Result<Answer, Refusal>>>,
    ) -> Response {
        let respond = pin!(async {
            let request = telemetry::Request::begin(self.clock.monotonic());
            let response = match steps.await {
                Ok(answer) => Response::from(answer),
                Err(refusal) => {
                    refusal.log();
                    refusal.into()
                }
            };
            request.end(response.status(), self.clock.monotonic());
            response
        });
        respond.instrument(telemetry::request_span(method)).await
    }

    /// Runs every step for an HTTP request.
    pub(super) async fn process<B, S>(
        &self,
        request: http::Request<B>,
        inner: &mut S,
    ) -> Result<Answer, Refusal>
    where
        B: Body<Error: Into<BoxError>>,
        S: EventService,
    {
        let (parts, body) = request.into_parts();
        require_post(&parts.method)?;
        let secrets = catch_panic("the secret provider", async {
            self.provider
                .secrets(&parts)
                .await
                .map_err(|error| Refusal::SecretsUnavailable(error.into()))
        });
        let panicked = |panic| Refusal::SecretsUnavailable(Arc::new(panic));
        let secrets = secrets.await.map_err(panicked)??;
        let secrets = secrets.ok_or(Refusal::UnknownEndpoint)?;
        self.limit.check_declared(&parts.headers, &body)?;
        let signature = parts.headers.get("stripe-signature").cloned();
        // Frees the request's head before the body arrives and the event is handled. In memory the
        // head is several times larger than on the wire.
        drop(parts);
        let signature = signature.as_ref().map(http::HeaderValue::as_bytes);
        let signature = self.check_header(signature)?;
        let body = self.limit.read(body, &self.budget, &*self.clock).await?;
        let event = self.verify(&secrets, signature, body)?;
        self.handle(event, inner).await
    }

    /// Parses the signature header and checks its age. The body of a request without a current
    /// header is thus never read.
    pub(super) fn check_header<'h>(
        &self,
        header: Option<&'h [u8]>,
    ) -> Result<UnverifiedSignature<'h>, Refusal> {
        Ok(UnverifiedSignature::parse(header, self.tolerance, self.clock.wall())?)
    }

    /// Verifies the signature, parses the envelope and checks the API version.
    pub(super) fn verify(
        &self,
        secrets: &Secrets,
        signature: UnverifiedSignature<'_>,
        body: RawBody,
    ) -> Result<Event, Refusal> {
        let verified = signature.verify(body.into_bytes(), secrets)?;
        warn_if_ahead(&verified);
        let event = Event::parse(verified)?;
        if let Some(expected) = &self.api_version {
            expected.check(&event)?;
        }
        self.log_test_id(&event);
        Ok(event)
    }

    /// Logs the first event with Stripe's test id.
    fn log_test_id(&self, event: &Event) {
        if event.has_test_id() && !self.test_id_logged.swap(true, Ordering::Relaxed) {
            tracing::info!(
                event.id = event.id(),
                event.r#type = event.event_type(),
                "the event has the id of Stripe's test events, which they all share; such an event is never a \
                 duplicate of another; logged once"
            );
        }
    }

    /// Calls the inner service with the event, and waits up to the timeout for its answer.
    pub(super) async fn handle<S>(&self, event: Event, inner: &mut S) -> Result<Answer, Refusal>
    where
        S: EventService,
    {
        // A panic must not end the connection, which may have other requests in flight.
        let answer = pin!(catch_panic("the service behind the endpoint", async {
            poll_fn(|context| inner.poll_ready(context)).await?;
            inner.call(event).await.map(Into::into)
        }));
        match within(self.timeout, &*self.clock, answer).await {
            Some(Ok(Ok(answer))) => Ok(answer),
            Some(Ok(Err(error))) => Err(Refusal::unavailable(error)),
            Some(Err(panic)) => Err(Refusal::unavailable(panic)),
            None => Err(Refusal::TimedOut { limit: self.timeout }),
        }
    }
}

/// Logs a signature that is more than one second ahead of our clock. One second is normal: both
/// times are truncated to seconds, so a lag of a few milliseconds can look like one second.
fn warn_if_ahead(verified: &VerifiedPayload) {
    let ahead = verified.ahead().as_secs();
    if ahead > 1 {
        telemetry::signature_ahead();
        tracing::warn!(
            ahead,
            "the signature's time is {ahead} s ahead of our clock; the signature is accepted; \
             synchronize the clock of this machine"
        );
    }
}

/// Lets a setter of an endpoint copy the settings that the endpoint shares with its clones
/// (`Arc::make_mut`). A derived `Clone` would require `P: Clone`.
impl<P> Clone for Settings<P> {
    fn clone(&self) -> Self {
        Self {
            provider: self.provider.clone(),
            tolerance: self.tolerance,
            limit: self.limit,
            budget: self.budget.clone(),
            timeout: self.timeout,
            api_version: self.api_version.clone(),
            test_id_logged: self.test_id_logged.clone(),
            clock: self.clock.clone(),
        }
    }
}
