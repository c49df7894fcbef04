//! A request, and its preparation for the attempts to send it.

use std::time::{Duration, SystemTime};

use form_urlencoded::{Serializer, parse};
use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use router_core::{
    bytes::{Bytes, BytesMut},
    handler::ErrorChain,
};
use serde_json::Value;

use crate::{Client, Error, ErrorKind, Pages, Response, client::Failure};

/// Maximum size of a response's body, in bytes.
const MAX_BODY: usize = 16 << 20;

/// Maximum of `Retry-After` that is obeyed, so that a wrong header does not postpone a handler's
/// retry forever.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("stripe-should-retry");
const STRIPE_ACCOUNT: HeaderName = HeaderName::from_static("stripe-account");
const STRIPE_CONTEXT: HeaderName = HeaderName::from_static("stripe-context");
const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");

/// A request to one path of Stripe's API.
#[derive(Debug, Clone)]
#[must_use = "a request is sent by `send` or `pages`"]
pub struct Request {
    client: Client,
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    body: Body,
    headers: Vec<(HeaderName, String)>,
}

#[derive(Debug, Clone)]
enum Body {
    Empty,
    Form(Vec<(String, String)>),
    Json(Value),
}

impl Request {
    pub(crate) fn new(client: Client, method: Method, path: String) -> Self {
        let headers = client.api_version().map(|version| (STRIPE_VERSION, version.to_owned()));
        let headers = headers.into_iter().collect();
        // The query is split off, because `Pages` replaces parameters, such as `ending_before`.
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let (path, query) = (path.to_owned(), parse(query.as_bytes()).into_owned().collect());
        Self { client, method, path, query, body: Body::Empty, headers }
    }

    /// Adds a parameter to the query, such as `("limit", "100")` or `("types[]", "invoice.paid")`.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Adds a parameter to the form, which is the body of requests to the API v1. Replaces a JSON
    /// body.
    pub fn form(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let parameter = (name.into(), value.into());
        match &mut self.body {
            Body::Form(form) => form.push(parameter),
            Body::Empty | Body::Json(_) => self.body = Body::Form(vec![parameter]),
        }
        self
    }

    /// Sets the body to JSON, as the API v2 expects it.
    pub fn json(mut self, body: Value) -> Self {
        self.body = Body::Json(body);
        self
    }

    /// Sends the request on behalf of a connected account (`Stripe-Account`).
    pub fn account(self, account: impl Into<String>) -> Self {
        self.header(STRIPE_ACCOUNT, account.into())
    }

    /// Sets the `Stripe-Context`, as in the `context` of a thin event.
    pub fn context(self, context: impl Into<String>) -> Self {
        self.header(STRIPE_CONTEXT, context.into())
    }

    /// Sets the API version of this request, instead of the client's.
    pub fn api_version(self, version: impl Into<String>) -> Self {
        self.header(STRIPE_VERSION, version.into())
    }

    /// Sets the idempotency key, by which Stripe recognizes a repeated `POST`. By default, all
    /// attempts of a `POST` have the same random key.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        self.header(IDEMPOTENCY_KEY, key.into())
    }

    fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value));
        self
    }

    /// Sends the request, and returns the response if its status is 2xx. Cancel safe if the request
    /// only reads.
    ///
    /// # Errors
    ///
    /// Fails if the path or a header is invalid, or if the last attempt failed, see [`ErrorKind`].
    /// A change that fails may or may not have been made, unless its only attempt was refused.
    pub async fn send(self) -> Result<Response, Error> {
        let prepared = self.prepare()?;
        self.client.send(&prepared).await
    }

    /// Reads a list page by page.
    pub fn pages(self) -> Pages {
        Pages::new(self)
    }

    /// Returns whether the path is one of the API v2, whose lists have another form.
    pub(crate) fn is_v2(&self) -> bool {
        self.path.starts_with("/v2/")
    }

    /// Returns the value of a parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut query = self.query.iter();
        query.find(|(parameter, _)| parameter == name).map(|(_, value)| &**value)
    }

    /// Sets a parameter of the query, and replaces an earlier one with this name.
    pub(crate) fn set_parameter(&mut self, name: &str, value: String) {
        self.query.retain(|(parameter, _)| parameter != name);
        self.query.push((name.to_owned(), value));
    }

    /// Returns whether the request is for this path with its query.
    pub(crate) fn is_page(&self, path_and_query: &str) -> bool {
        self.query.is_empty() && self.path == path_and_query
    }

    /// Replaces the path and the query by those of the next page.
    pub(crate) fn set_next_page(&mut self, path_and_query: String) {
        self.path = path_and_query;
        self.query.clear();
    }

    /// Returns the method and the path, without the query.
    pub(crate) fn name(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }

    fn prepare(&self) -> Result<PreparedRequest, Error> {
        let name = self.name();
        let invalid = |message: String| Error::new(ErrorKind::Rejected, &name, message);
        let mut url = self.client.url(&self.path).map_err(invalid)?;
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        let mut headers = HeaderMap::new();
        for (name, text) in &self.headers {
            let value = HeaderValue::from_str(text);
            let value = value.map_err(|_| invalid(format!("`{name}` has an invalid value")))?;
            headers.insert(name.clone(), value);
        }
        if self.is_v2() && !headers.contains_key(STRIPE_VERSION) {
            headers.insert(STRIPE_VERSION, HeaderValue::from_static(router_catalog::API_VERSION));
        }
        if self.method == Method::POST && !headers.contains_key(IDEMPOTENCY_KEY) {
            let key = format!("{:032x}", fastrand::u128(..));
            headers
                .insert(IDEMPOTENCY_KEY, HeaderValue::from_str(&key).expect("key is hexadecimal"));
        }
        let (content_type, body) = match &self.body {
            Body::Empty => (None, Bytes::new()),
            Body::Form(form) => {
                let form = Serializer::new(String::new()).extend_pairs(form).finish();
                (Some("application/x-www-form-urlencoded"), form.into())
            }
            Body::Json(json) => (Some("application/json"), json.to_string().into()),
        };
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        headers.insert(reqwest::header::AUTHORIZATION, self.client.authorization());
        Ok(PreparedRequest { name, method: self.method.clone(), url, headers, body })
    }
}

/// A request in the form in which each attempt sends it.
pub(crate) struct PreparedRequest {
    name: String,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

impl PreparedRequest {
    /// Returns the method and the path, without the query.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Sends the request once.
    pub(crate) async fn send_once(&self, client: &Client) -> Result<Response, Failure> {
        let request = client
            .http()
            .request(self.method.clone(), self.url.clone())
            .headers(self.headers.clone())
            .body(self.body.clone());
        let mut response =
            request.send().await.map_err(|error| self.failed("cannot reach Stripe", error))?;
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let request_id = header(REQUEST_ID).map(str::to_owned);
        let date = header(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
        let should_retry = header(SHOULD_RETRY).and_then(|text| text.parse().ok());
        // A date in `Retry-After` is by the server's clock, like that of the response.
        let now = date.unwrap_or_else(|| client.clock().wall());
        let retry_after = header(RETRY_AFTER).and_then(|text| parse_retry_after(text, now));
        let mut body = BytesMut::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.failed("cannot read the response of Stripe", error))?
        {
            if body.len() + chunk.len() > MAX_BODY {
                let message = format!("the response is larger than {MAX_BODY} bytes");
                let mut error = Error::new(ErrorKind::Unreadable, &self.name, message);
                error.0.request_id = request_id;
                return Err(Failure { error, should_retry: false });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            let (request, body) = (self.name.clone(), body.freeze());
            return Ok(Response { request, request_id, date, body });
        }
        let status = status.as_u16();
        let mut error = Error::from_status(&self.name, status, &body);
        (error.0.request_id, error.0.retry_after) = (request_id, retry_after);
        client.redact(&mut error);
        let should_retry = should_retry.unwrap_or(matches!(status, 409 | 429) || status >= 500);
        Err(Failure { error, should_retry })
    }

    fn failed(&self, step: &str, error: reqwest::Error) -> Failure {
        // The URL may have personal data in its query.
        let error = error.without_url();
        let cause = ErrorChain::new(&error).errors().last().map(ToString::to_string);
        let message = format!("{step}: {}", cause.unwrap_or_default());
        let source = Some(error.into());
        let mut error = Error::new(ErrorKind::Unavailable, &self.name, message);
        error.0.source = source;
        Failure { error, should_retry: true }
    }
}

/// Parses a `Retry-After` header: a number of seconds, or a date.
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let wait = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text.trim()).ok()?;
            date.duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}
