//! Sends one request and reads its answer.

use std::{io, time::Duration};

use reqwest::{Client, Url, header, redirect};
use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
    handler::ErrorChain,
    testing::Payload,
};
use serde_json::Value;

use crate::{error::Error, output::sanitize, target::Target};

/// The number of bytes after which an answer is no longer read, in case it is endless.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Sends signed events to one server.
pub(crate) struct Sender {
    client: Client,
    target: Url,
    /// The URL for messages, without user and password.
    url: Url,
    secret: SigningSecret,
    timeout: Duration,
}

/// An event to send.
pub(crate) struct OutgoingEvent {
    pub(crate) payload: Payload,
    /// The seed that the event was generated from; `None` if it is from a file.
    pub(crate) seed: Option<u64>,
}

/// The result of one delivery.
pub(crate) struct DeliveryResult {
    pub(crate) event: OutgoingEvent,
    /// The answer, or the reason why there was none.
    pub(crate) answer: Result<Answer, String>,
    pub(crate) elapsed: Duration,
}

/// The server's answer.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

impl Answer {
    /// Returns the body as JSON, or as a JSON string if it is other text.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| self.body.as_str().into())
    }

    /// Returns the outcome or the error, as `done` or `signature verification failed`.
    pub(crate) fn outcome(&self) -> String {
        let body = self.json();
        let outcome = body.get("outcome").or_else(|| body.get("error")).and_then(Value::as_str);
        sanitize(outcome.unwrap_or_default())
    }

    /// Returns whether the server says that the signature is invalid. It may use another framework,
    /// so the exact text is unknown.
    pub(crate) fn rejects_signature(&self) -> bool {
        self.status == 400 && self.body.to_lowercase().contains("signature")
    }
}

impl Sender {
    pub(crate) fn new(target: &Target, secret: SigningSecret) -> Result<Self, Error> {
        let mut url = parse_url(&target.to)?;
        // Fails only if a provider is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        // Like Stripe, does not follow redirects.
        let mut client = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(target.timeout)
            .user_agent(concat!("event-router/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| {
            Error::Usage(format!("cannot create the HTTP client: {}", root_cause(&error)))
        })?;
        let (timeout, target) = (target.timeout, url.clone());
        // Fail only if the URL has no host, and so no user.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(Self { client, target, url, secret, timeout })
    }

    /// Returns the URL for messages, without user and password.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Signs and sends an event.
    ///
    /// # Errors
    ///
    /// Fails with a message for the user if the server does not answer.
    pub(crate) async fn send(&self, payload: &Payload) -> Result<Answer, String> {
        let signature = payload.sign_at(&self.secret, SystemClock.wall());
        let request = self
            .client
            .post(self.target.clone())
            .header("stripe-signature", signature)
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .body(payload.body().clone());
        let answer = async {
            let mut response = request.send().await?;
            let status = response.status().as_u16();
            let retry_after = response.headers().get(header::RETRY_AFTER);
            let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() >= MAX_ANSWER_BYTES {
                    break;
                }
            }
            Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&body).into_owned() })
        };
        answer.await.map_err(|error: reqwest::Error| self.explain(&error))
    }

    /// Describes the likely cause of an error, and what to do.
    fn explain(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            let timeout = humantime::format_duration(self.timeout);
            return format!("no answer within {timeout} (--timeout)");
        }
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or_default();
        if !error.is_connect() {
            return format!("the connection to {host}:{port} failed: {}", root_cause(error));
        }
        let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if ErrorChain::new(error).errors().filter_map(|cause| cause.downcast_ref()).any(is_refused)
        {
            return format!(
                "nothing listens at {host}:{port}; start the server (`cargo run`), or pass its URL with --to"
            );
        }
        let tls = ErrorChain::new(error).errors().find_map(|cause| cause.downcast_ref());
        match tls {
            Some(rustls::Error::InvalidMessage(_)) => {
                format!(
                    "the server at {host}:{port} does not use TLS; try http:// instead of https://"
                )
            }
            Some(rustls::Error::InvalidCertificate(why)) => format!(
                "the certificate of {host}:{port} is not trusted ({why:?}); add its authority to the \
                 certificates that this machine trusts, or use http://"
            ),
            _ => format!("cannot connect to {host}:{port}: {}; check --to", root_cause(error)),
        }
    }
}

fn parse_url(text: &str) -> Result<Url, Error> {
    let invalid = |why: &str| {
        // The text may contain a password.
        let text = if text.contains('@') { "" } else { text };
        Error::Usage(format!(
            "--to {text}: {why}; expected a URL, as in http://127.0.0.1:4242/webhook"
        ))
    };
    let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(invalid(&format!("`{other}:` is neither http: nor https:"))),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns the text of the innermost cause of an error.
fn root_cause(error: &reqwest::Error) -> String {
    ErrorChain::new(error).errors().last().map_or_else(String::new, ToString::to_string)
}
