//! The walk of a request, step by step, from its head to a response.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use http::Method;
use http_body::Body;
use tower_service::Service;
use tracing::Instrument as _;

use super::{
    Answer, Refusal, Response, SecretProvider,
    api_version::ExpectedVersion,
    limit::{BodyLimit, RawBody, post_only},
};
use crate::{
    clock::{Clock, within},
    event::Event,
    handler::BoxError,
    signature::{Secrets, Tolerance, VerifiedPayload, verify},
    telemetry,
};

/// How an [`Endpoint`](super::Endpoint) is set.
pub(super) struct Settings<P> {
    pub(super) provider: Arc<P>,
    pub(super) tolerance: Tolerance,
    pub(super) limit: BodyLimit,
    pub(super) timeout: Duration,
    pub(super) api_version: Option<Arc<ExpectedVersion>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl<P: SecretProvider> Settings<P> {
    /// Whatever becomes of a request is a response, and is logged and counted.
    pub(super) async fn respond(
        &self,
        method: Option<&Method>,
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
        respond.instrument(telemetry::request_span(method)).await
    }

    /// From a request to an answer.
    pub(super) async fn walk<B, S>(
        &self,
        request: http::Request<B>,
        inner: &mut S,
    ) -> Result<Answer, Refusal>
    where
        B: Body<Error: Into<BoxError>>,
        S: Service<Event, Response: Into<Answer>, Error: Into<BoxError>>,
    {
        let (parts, body) = request.into_parts();
        post_only(&parts.method)?;
        let secrets = self.provider.secrets(&parts).await;
        let secrets = secrets.map_err(|error| Refusal::SecretsUnavailable(error.into()))?;
        let secrets = secrets.ok_or(Refusal::UnknownEndpoint)?;
        let body = self.limit.read(&parts.headers, body, &*self.clock).await?;
        let signature = parts.headers.get("stripe-signature").map(http::HeaderValue::as_bytes);
        let event = self.event(&secrets, signature, body)?;
        // A kilobyte or more, which nobody needs while the event is being handled.
        drop(parts);
        self.handle(event, inner).await
    }

    /// From a body to an event.
    pub(super) fn event(
        &self,
        secrets: &Secrets,
        signature: Option<&[u8]>,
        body: RawBody,
    ) -> Result<Event, Refusal> {
        let now = self.clock.wall();
        let verified = verify(signature, body.into_bytes(), secrets, self.tolerance, now)?;
        warn_if_ahead(&verified);
        let event = Event::parse(verified)?;
        if let Some(expected) = &self.api_version {
            expected.check(&event)?;
        }
        Ok(event)
    }

    /// From an event to an answer.
    pub(super) async fn handle<S>(&self, event: Event, inner: &mut S) -> Result<Answer, Refusal>
    where
        S: Service<Event, Response: Into<Answer>, Error: Into<BoxError>>,
    {
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

/// A setting that is changed once an endpoint was cloned is the new one's alone.
impl<P> Clone for Settings<P> {
    fn clone(&self) -> Self {
        Self {
            provider: self.provider.clone(),
            tolerance: self.tolerance,
            limit: self.limit,
            timeout: self.timeout,
            api_version: self.api_version.clone(),
            clock: self.clock.clone(),
        }
    }
}
