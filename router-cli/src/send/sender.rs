//! One request, and its answer.

use std::{error::Error as _, io, iter::successors, time::Duration};

use reqwest::{Client, Url, header, redirect};
use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
    testing::Payload,
};

use crate::{error::Error, target::Target};

/// So many bytes of an answer are read: one that has no end is no answer to an event.
const ENOUGH: usize = 1 << 20;

/// Sends signed events to one server.
pub(crate) struct Sender {
    client: Client,
    url: Url,
    secret: SigningSecret,
    timeout: Duration,
}

/// What the server said.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

impl Sender {
    pub(crate) fn new(target: &Target, secret: SigningSecret) -> Result<Self, Error> {
        let url = url(&target.to)?;
        // An error means that there is one already.
        drop(rustls::crypto::ring::default_provider().install_default());
        // Stripe follows no redirect either.
        let mut client = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(target.timeout)
            .user_agent(concat!("event-router/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| {
            Error::Usage(format!("no connection can be made: {}", root(&error)))
        })?;
        Ok(Self { client, url, secret, timeout: target.timeout })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Signs and sends it; what the server said, or why it said nothing.
    pub(crate) async fn send(&self, payload: &Payload) -> Result<Answer, String> {
        let signature = payload.sign_at(&self.secret, SystemClock.wall());
        let request = self
            .client
            .post(self.url.clone())
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
                if body.len() >= ENOUGH {
                    break;
                }
            }
            Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&body).into_owned() })
        };
        answer.await.map_err(|error: reqwest::Error| self.why(&error))
    }

    fn why(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            let timeout = humantime::format_duration(self.timeout);
            return format!("no answer within {timeout} (--timeout)");
        }
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or_default();
        if !error.is_connect() {
            return format!("the connection to {host}:{port} broke: {}", root(error));
        }
        let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if causes(error).filter_map(|cause| cause.downcast_ref()).any(is_refused) {
            return format!(
                "nothing listens at {host}:{port}; start the server, as with `cargo run`, or say where it is \
                 with --to"
            );
        }
        let tls = causes(error).find_map(|cause| cause.downcast_ref());
        match tls {
            Some(rustls::Error::InvalidMessage(_)) => {
                format!(
                    "what listens at {host}:{port} speaks no TLS; perhaps it is http:// there, without the s"
                )
            }
            Some(rustls::Error::InvalidCertificate(why)) => format!(
                "the certificate of {host}:{port} is not trusted ({why:?}); one of your own must be among those \
                 that this machine trusts, or send to http://"
            ),
            _ => {
                format!("{host}:{port} cannot be reached: {}; is it where --to says?", root(error))
            }
        }
    }
}

fn url(text: &str) -> Result<Url, Error> {
    let wrong = |why: &str| {
        Error::Usage(format!("--to {text}: {why}; write it as in http://127.0.0.1:4242/webhook"))
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(wrong(&format!("`{other}:` is not HTTP"))),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The cause of all causes.
fn root(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// What an error comes of, and what that comes of.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    successors(error.source(), |cause| {
        // What is in an error of the system is the same error, and no source of it.
        let within = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        within.map(|within| within as _).or_else(|| (*cause).source())
    })
}
