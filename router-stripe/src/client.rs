//! The client: its configuration, and the retries and limits of its requests.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Method, Url, header::HeaderValue, redirect};
use router_core::{
    BoxError,
    clock::{Clock, SystemClock},
};
use tokio::sync::Semaphore;

use crate::{ApiKey, Error, ErrorKind, Request, Response, request::PreparedRequest};

/// The address of Stripe's API.
const STRIPE: &str = "https://api.stripe.com";

/// Maximum backoff before a retry.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

const INITIAL_BACKOFF: Duration = Duration::from_millis(500);

/// Maximum timeout. Without it, a deadline could overflow an [`Instant`].
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// A client of Stripe's API.
///
/// Cloning is cheap; clones share the connections and the limits.
///
/// # Retries
///
/// A request is retried if there was no answer, or if the status is 409, 429 or 5xx. Stripe's
/// header `Stripe-Should-Retry` takes precedence over the status. A `POST` has an idempotency key,
/// so that a retry does not make the change twice.
///
/// The backoff before a retry is 0.5 s, doubles up to 5 s, and has jitter (up to −50 %). A longer
/// `Retry-After` is obeyed. If the retry would begin after the
/// [total timeout](ClientBuilder::total_timeout), the request fails at once.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    base: Url,
    key: ApiKey,
    authorization: HeaderValue,
    settings: Settings,
    permits: Semaphore,
}

/// The settings of a client.
#[derive(Clone)]
struct Settings {
    api_version: Option<String>,
    attempt_timeout: Duration,
    total_timeout: Duration,
    max_attempts: u32,
    max_concurrency: usize,
    clock: Arc<dyn Clock>,
}

/// Configures a [`Client`].
#[must_use]
pub struct ClientBuilder {
    key: ApiKey,
    base_url: String,
    settings: Settings,
}

/// The reason why a client cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The base URL cannot be used.
    #[error("the base URL {url} of Stripe's API cannot be used: {reason}")]
    BaseUrl {
        /// The URL.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The HTTP client cannot be created, for example because the system's certificates cannot be
    /// read.
    #[error("cannot create the HTTP client")]
    Http(#[source] BoxError),
}

impl Client {
    /// Starts the configuration of a client with this key.
    pub fn builder(key: ApiKey) -> ClientBuilder {
        ClientBuilder {
            key,
            base_url: STRIPE.to_owned(),
            settings: Settings {
                api_version: None,
                attempt_timeout: Duration::from_secs(10),
                total_timeout: Duration::from_secs(30),
                max_attempts: 3,
                max_concurrency: 8,
                clock: Arc::new(SystemClock),
            },
        }
    }

    /// Creates a request that reads from this path, such as `/v1/invoices/in_1`. The path may have
    /// a query.
    pub fn get(&self, path: impl Into<String>) -> Request {
        Request::new(self.clone(), Method::GET, path.into())
    }

    /// Creates a request that writes to this path.
    pub fn post(&self, path: impl Into<String>) -> Request {
        Request::new(self.clone(), Method::POST, path.into())
    }

    /// Returns whether the client's key is for live mode, where real money moves.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0.key.is_live()
    }

    /// Returns the clock that measures the client's waits and timeouts.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.settings.clock
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.0.http
    }

    pub(crate) fn api_version(&self) -> Option<&str> {
        self.0.settings.api_version.as_deref()
    }

    pub(crate) fn authorization(&self) -> HeaderValue {
        self.0.authorization.clone()
    }

    /// Returns the URL of a path.
    ///
    /// # Errors
    ///
    /// Fails if the path is not one of the API v1 or v2, so that the key is sent nowhere else.
    pub(crate) fn url(&self, path: &str) -> Result<Url, String> {
        let url = self.0.base.join(path).map_err(|error| error.to_string())?;
        let is_api = |path: &str| path.starts_with("/v1/") || path.starts_with("/v2/");
        // The URL is checked too: `..` is resolved in it, and the key must reach no other origin.
        if !is_api(path) || !is_api(url.path()) || url.origin() != self.0.base.origin() {
            return Err("the path must begin with /v1/ or /v2/".to_owned());
        }
        Ok(url)
    }

    /// Replaces the client's key in the texts of an error, and shortens them.
    pub(crate) fn redact(&self, error: &mut Error) {
        error.redact(self.0.key.as_str());
    }

    /// Sends a request until an attempt succeeds or must not be retried.
    pub(crate) async fn send(&self, request: &PreparedRequest) -> Result<Response, Error> {
        let Settings { clock, total_timeout, max_attempts, .. } = &self.0.settings;
        let deadline = clock.monotonic() + *total_timeout;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Failure { mut error, should_retry } = match self.attempt(request, deadline).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            error.0.attempts = attempts;
            let wait =
                backoff(attempts, fastrand::f64()).max(error.retry_after().unwrap_or_default());
            let is_too_late = clock.monotonic() + wait >= deadline;
            if !should_retry || attempts >= *max_attempts || is_too_late {
                return Err(error);
            }
            tracing::debug!(%error, wait_ms = wait.as_millis(), "request to Stripe failed; retrying");
            clock.sleep(wait).await;
        }
    }

    /// Makes one attempt within its time limit.
    async fn attempt(
        &self,
        request: &PreparedRequest,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let Settings { clock, attempt_timeout, .. } = &self.0.settings;
        let limit = deadline.min(clock.monotonic() + *attempt_timeout);
        let late = |message: &str| Failure {
            error: Error::new(ErrorKind::Unavailable, request.name(), message),
            should_retry: true,
        };
        let permit = tokio::select! {
            biased;
            permit = self.0.permits.acquire() => permit.expect("semaphore is never closed"),
            () = clock.sleep_until(limit) => {
                return Err(late("not sent in time, because `max_concurrency` requests are in flight"));
            }
        };
        let answer = tokio::select! {
            biased;
            answer = request.send_once(self) => answer,
            () = clock.sleep_until(limit) => Err(late("no answer from Stripe in time")),
        };
        drop(permit);
        answer
    }
}

/// A failed attempt.
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) should_retry: bool,
}

/// Returns the wait after this number of attempts. `random` is between 0 and 1.
fn backoff(attempts: u32, random: f64) -> Duration {
    let backoff = INITIAL_BACKOFF.saturating_mul(2_u32.saturating_pow(attempts - 1));
    backoff.min(MAX_BACKOFF).mul_f64(0.5 + random / 2.0)
}

impl ClientBuilder {
    /// Sets the address of the API, for tests. The default is `https://api.stripe.com`. `http` is
    /// accepted only for this machine, because the key would be readable on the network.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// Sets the [API version](https://docs.stripe.com/api/versioning) of all requests. The default
    /// is that of the account for the API v1, and [`router_catalog::API_VERSION`] for the API v2,
    /// which requires one.
    pub fn api_version(mut self, version: impl Into<String>) -> Self {
        self.settings.api_version = Some(version.into());
        self
    }

    /// Sets the time limit of one attempt; at most a day. Default: 10 s.
    pub fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.settings.attempt_timeout = limit.min(MAX_TIMEOUT);
        self
    }

    /// Sets the time limit of a request with all its attempts and waits; at most a day. Default:
    /// 30 s.
    pub fn total_timeout(mut self, limit: Duration) -> Self {
        self.settings.total_timeout = limit.min(MAX_TIMEOUT);
        self
    }

    /// Sets the maximum number of attempts of a request; at least 1. Default: 3.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = attempts.max(1);
        self
    }

    /// Sets the maximum number of concurrent requests of the client and its clones; at least 1.
    /// Default: 8. Further requests wait, which counts against their timeouts.
    pub fn max_concurrency(mut self, requests: usize) -> Self {
        self.settings.max_concurrency = requests.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Sets the clock that measures waits and timeouts, for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Creates the client. Sends nothing. If the process has no default provider of rustls,
    /// installs `ring`.
    ///
    /// # Errors
    ///
    /// - The base URL has more than a scheme, a host and a port, or its scheme is `http` and its
    ///   host is another machine.
    /// - The HTTP client cannot be created.
    #[expect(clippy::missing_panics_doc, reason = "a key has only letters, digits and underscores")]
    pub fn build(self) -> Result<Client, ClientError> {
        let Self { key, base_url, settings } = self;
        let base = check_base_url(&base_url)
            .map_err(|reason| ClientError::BaseUrl { url: base_url.clone(), reason })?;
        // Fails only if a provider is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .user_agent(concat!("stripe-event-router/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| ClientError::Http(error.into()))?;
        let authorization = format!("Bearer {}", key.as_str());
        let mut authorization = HeaderValue::from_str(&zeroize::Zeroizing::new(authorization))
            .expect("key has only letters, digits and underscores");
        authorization.set_sensitive(true);
        let permits = Semaphore::new(settings.max_concurrency);
        Ok(Client(Arc::new(Inner { http, base, key, authorization, settings, permits })))
    }
}

fn check_base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    // The path of a request would replace that of the base URL.
    let is_origin = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !is_origin || !url.username().is_empty() || url.password().is_some() {
        return Err("it must have only a scheme, a host and a port".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("http would send the API key in clear text; use https".to_owned()),
        other => Err(format!("`{other}:` is neither https: nor http:")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { base, key, .. } = &*self.0;
        f.debug_struct("Client")
            .field("base", &base.as_str())
            .field("key", key)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MAX_BACKOFF, backoff, check_base_url};

    #[test]
    fn backoff_doubles_up_to_its_maximum() {
        assert_eq!(backoff(1, 1.0), Duration::from_millis(500));
        assert_eq!(backoff(1, 0.0), Duration::from_millis(250));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(2));
        assert_eq!(backoff(u32::MAX, 1.0), MAX_BACKOFF);
    }

    #[test]
    fn key_is_sent_in_clear_text_only_to_this_machine() {
        for url in
            ["https://api.stripe.com", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost"]
        {
            assert!(check_base_url(url).is_ok(), "{url}");
        }
        for url in ["http://api.stripe.com", "http://10.0.0.1", "ftp://localhost", "api.stripe.com"]
            .into_iter()
            .chain(["https://proxy.example/stripe", "http://localhost/?x"])
        {
            assert!(check_base_url(url).is_err(), "{url}");
        }
    }
}
