//! The facts about an HTTP request that the log line of its refusal has.

use http::{HeaderValue, Method, Request, header::CONTENT_ENCODING, uri::PathAndQuery};

use crate::handler::one_line;

/// The parts of a request's head that remain once it is freed. Each is a reference count, and only
/// a refusal formats them.
#[derive(Debug, Default)]
pub(super) struct RequestFacts {
    /// `None` if a server with other HTTP types has read the request.
    method: Option<Method>,
    path: Option<PathAndQuery>,
    content_encoding: Option<HeaderValue>,
}

impl RequestFacts {
    pub(super) fn new<B>(request: &Request<B>) -> Self {
        Self {
            method: Some(request.method().clone()),
            path: request.uri().path_and_query().cloned(),
            content_encoding: request.headers().get(CONTENT_ENCODING).cloned(),
        }
    }

    pub(super) fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// Returns the path, safe to log. The query is omitted, because it may hold a token.
    pub(super) fn path(&self) -> Option<String> {
        self.path.as_ref().map(|path| one_line(path.path()))
    }

    /// Returns the value of the header `Content-Encoding`, safe to log.
    pub(super) fn content_encoding(&self) -> Option<String> {
        let value = self.content_encoding.as_ref()?;
        Some(one_line(&String::from_utf8_lossy(value.as_bytes())))
    }
}
