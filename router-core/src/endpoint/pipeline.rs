//! The steps of a request, in order: method, secrets, signature header, body, signature, envelope,
//! API version, and the call of the inner service.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, request::Parts};
use http_body::Body;
use tracing::Instrument as _;

use super::{
    Answer, EventService, Refusal, SecretProvider,
    api_version::ExpectedVersion,
    budget::BodyBudget,
    limit::{BodyLimit, RawBody, require_post},
    request_facts::RequestFacts,
};
use crate::{
    clock::{Clock, within},
    event::Event,
    handler::BoxError,
    panic_guard::catch_panic,
    signature::{Secrets, Tolerance, UnverifiedSignature, VerifiedPayload},
    telemetry,
};

const SIGNATURE_HEADER: &str = "stripe-signature";

/// The settings of an [`Endpoint`](super::Endpoint), shared by its clones.
pub(super) struct Settings<P> {
    pub(super) provider: Arc<P>,
    pub(super) tolerance: Tolerance,
    pub(super) limit: BodyLimit,
    pub(super) budget: BodyBudget,
    pub(super) timeout: Duration,
    pub(super) api_version: Option<Arc<ExpectedVersion>>,
    /// `true` once a secret without the prefix `whsec_` has been logged.
    pub(super) prefix_logged: Arc<AtomicBool>,
    /// `true` once an event with Stripe's test id has been logged.
    pub(super) test_id_logged: Arc<AtomicBool>,
    pub(super) clock: Arc<dyn Clock>,
}

/// An extension of the response to a request that Stripe sent, as its signature proves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Authentic;

impl<P: SecretProvider> Settings<P> {
    /// Runs the steps of a request in a span, and converts their result to a response. Counts the
    /// request, and logs a refusal.
    pub(super) async fn respond<B: From<Bytes>>(
        &self,
        facts: &RequestFacts,
        steps: Pin<&mut impl Future<Output = Result<Answer, Refusal>>>,
    ) -> http::Response<B> {
        let respond = pin!(async {
            let request = telemetry::Request::begin(self.clock.monotonic());
            let (is_authentic, mut response) = match steps.await {
                Ok(answer) => (true, http::Response::from(answer)),
                Err(refusal) => {
                    let refusal = refusal.with_content_encoding(facts.content_encoding());
                    refusal.log(facts);
                    (refusal.is_authentic(), refusal.into())
                }
            };
            if is_authentic {
                response.extensions_mut().insert(Authentic);
            }
            request.end(response.status(), self.clock.monotonic());
            response
        });
        respond.instrument(telemetry::request_span(facts.method())).await
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
        let (mut parts, body) = request.into_parts();
        require_post(&parts.method)?;
        let secrets = self.secrets(&parts).await?;
        self.limit.check_declared(&parts.headers, &body)?;
        let signature = parts.headers.remove(SIGNATURE_HEADER);
        // Frees the request's head before the body arrives and the event is handled. In memory the
        // head is several times larger than on the wire.
        drop(parts);
        let signature = signature.as_ref().map(HeaderValue::as_bytes);
        let signature = self.check_header(signature)?;
        let body = self.limit.read(body, &self.budget, &*self.clock).await?;
        let event = self.verify(&secrets, signature, body)?;
        self.handle(event, inner).await
    }

    /// Runs every step for a request whose body the caller has read at this time.
    pub(super) async fn process_received(
        &self,
        request: http::Request<Bytes>,
        received_at: SystemTime,
        inner: &mut impl EventService,
    ) -> Result<Answer, Refusal> {
        let (parts, body) = request.into_parts();
        require_post(&parts.method)?;
        let secrets = self.secrets(&parts).await?;
        let body = self.limit.check(body)?;
        let signature = parts.headers.get(SIGNATURE_HEADER).map(HeaderValue::as_bytes);
        let signature = UnverifiedSignature::parse(signature, self.tolerance, received_at)?;
        let event = self.verify(&secrets, signature, body)?;
        self.handle(event, inner).await
    }

    /// Looks up the secrets of a request.
    async fn secrets(&self, request: &Parts) -> Result<Secrets, Refusal> {
        let lookup = pin!(catch_panic("the secret provider", self.provider.secrets(request)));
        let unavailable = |error: BoxError| Err(Refusal::SecretsUnavailable(error.into()));
        let secrets = match within(self.timeout, &*self.clock, lookup).await {
            Some(Ok(Ok(Some(secrets)))) => secrets,
            Some(Ok(Ok(None))) => return Err(Refusal::UnknownEndpoint),
            Some(Ok(Err(error))) => return unavailable(error),
            Some(Err(panic)) => return unavailable(panic.into()),
            None => {
                let limit = self.timeout;
                let error = format!(
                    "the secret provider did not answer within {limit:?}; `Endpoint::timeout` sets \
                     this limit"
                );
                return unavailable(error.into());
            }
        };
        require_secrets(&secrets)?;
        self.log_prefix(&secrets);
        Ok(secrets)
    }

    /// Logs what is likely wrong with the secrets of every request.
    pub(super) fn log_suspicious(&self, secrets: &Secrets) {
        self.log_prefix(secrets);
        if let Err(refusal) = require_secrets(secrets) {
            tracing::error!(
                error = %refusal,
                "the endpoint has no signing secret, so every event is refused; pass the secret \
                 that Stripe's dashboard shows, `whsec_…`"
            );
        }
        if let Some([first, second]) = secrets.shared() {
            tracing::error!(
                first = %first.endpoint_names(),
                second = %second.endpoint_names(),
                "two endpoints have the same signing secret, so every event that it signs belongs \
                 to the first one; give each endpoint its own secret, or use \
                 `SigningSecret::connect_named` for the secret of `stripe listen`"
            );
        }
    }

    /// Logs the first secret that does not begin with `whsec_`, as those of Stripe do.
    pub(super) fn log_prefix(&self, secrets: &Secrets) {
        if let Some(secret) = secrets.iter().find(|secret| !secret.has_prefix())
            && !self.prefix_logged.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                endpoint = secret.endpoint().as_str(),
                "a signing secret does not begin with `whsec_`, as those of Stripe do; if it is not \
                 the whole secret that Stripe's dashboard shows for this endpoint, every event is \
                 refused; logged once"
            );
        }
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
                "the event has the id of Stripe's test events, which they all share; such an event \
                 is never a duplicate of another; logged once"
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

/// Refuses an endpoint without secrets. Each signature would be invalid, and not by the sender's
/// fault.
pub(super) fn require_secrets(secrets: &Secrets) -> Result<(), Refusal> {
    match secrets.iter().next() {
        Some(_) => Ok(()),
        None => {
            let error: BoxError =
                "there is no signing secret for this endpoint; a secret provider \
                                   returns `None` if there is no endpoint at the address"
                    .into();
            Err(Refusal::SecretsUnavailable(error.into()))
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
            prefix_logged: self.prefix_logged.clone(),
            test_id_logged: self.test_id_logged.clone(),
            clock: self.clock.clone(),
        }
    }
}
