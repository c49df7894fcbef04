//! The facts about an HTTP request that the log line of its refusal has.

use http::{HeaderMap, Method, Request, header::CONTENT_ENCODING, uri::PathAndQuery};

use crate::handler::one_line;

/// The parts of a request's head that remain once it is freed. They are cheap to copy, and only a
/// refusal formats them.
#[derive(Debug, Default)]
pub(super) struct RequestFacts {
    /// `None` if a server with other HTTP types has read the request.
    method: Option<Method>,
    path: Option<PathAndQuery>,
    content_encoding: Option<&'static str>,
}

impl RequestFacts {
    pub(super) fn new<B>(request: &Request<B>) -> Self {
        Self {
            method: Some(request.method().clone()),
            path: request.uri().path_and_query().cloned(),
            content_encoding: content_encoding(request.headers()),
        }
    }

    pub(super) fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// Returns the path, safe to log. The query is omitted, because it may hold a token.
    pub(super) fn path(&self) -> Option<String> {
        self.path.as_ref().map(|path| one_line(path.path()))
    }

    /// Returns the name of the request's content coding. The sender chooses it, so a name that is
    /// not well known becomes `unknown`.
    pub(super) fn content_encoding(&self) -> Option<&'static str> {
        self.content_encoding
    }
}

fn content_encoding(headers: &HeaderMap) -> Option<&'static str> {
    let names = headers.get_all(CONTENT_ENCODING).into_iter();
    let mut names = names.map(|name| name.as_bytes().trim_ascii());
    let name = names.find(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))?;
    let mut known = ["br", "deflate", "gzip", "zstd"].into_iter();
    Some(known.find(|known| name.eq_ignore_ascii_case(known.as_bytes())).unwrap_or("unknown"))
}
