//! The HTTP server of the stub.

use std::{io, sync::Arc};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use router_core::{
    bytes::Bytes,
    clock::{Clock as _, SystemClock},
    http::{Method, StatusCode, header},
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    Answer, Contents, Fault, FaultKind, ReceivedRequest, STUB_KEY, Tables,
    lists::{LISTS, page, without_success},
};

/// Serves the contents, until the task is aborted.
pub(super) async fn serve(listener: TcpListener, contents: Arc<Contents>) {
    // Aborts the connections when the stub is dropped.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let contents = contents.clone();
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, &contents));
            // An error is a fault of the stub, or a client that has closed the connection.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// Answers a request. An error closes the connection.
async fn answer(
    request: Request<Incoming>,
    contents: &Contents,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = parts.uri.to_string();
    let request = ReceivedRequest { method: parts.method, path, headers: parts.headers, body };
    let (fault, number) = {
        let mut tables = contents.tables();
        tables.requests.push(request.clone());
        (tables.take_fault(request.path_only()), tables.requests.len())
    };
    let mut answer = None;
    match fault {
        Some(Fault(FaultKind::Disconnect)) => {
            return Err(io::Error::other("the connection is closed"));
        }
        Some(Fault(FaultKind::Delay(time))) => SystemClock.sleep(time).await,
        Some(Fault(FaultKind::Hold(request))) => request.wait().await,
        Some(Fault(FaultKind::Answer(fault))) => answer = Some(fault),
        None => {}
    }
    let (answer, clock_ahead) = {
        let mut tables = contents.tables();
        (answer.unwrap_or_else(|| tables.answer(&request)), tables.clock_ahead)
    };
    contents.pinged.notify_waiters();
    let Answer { status, headers, body } = answer;
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::DATE, httpdate::fmt_http_date(SystemClock.wall() + clock_ahead))
        .header("request-id", format!("req_{number}"));
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(body.into()).map_err(io::Error::other)
}

impl ReceivedRequest {
    /// Returns the path without the query.
    pub(super) fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Returns the account on whose behalf the request is made, or the empty text.
    pub(super) fn account(&self) -> &str {
        let account = self.header("stripe-account").or(self.header("stripe-context"));
        account.unwrap_or_default()
    }
}

impl Tables {
    fn take_fault(&mut self, path: &str) -> Option<Fault> {
        let applies =
            |(of, _): &(Option<String>, Fault)| of.as_ref().is_none_or(|other| other == path);
        let index = self.faults.iter().position(applies)?;
        self.faults.remove(index).map(|(_, fault)| fault)
    }

    fn answer(&mut self, request: &ReceivedRequest) -> Answer {
        if request.header("authorization") != Some(&format!("Bearer {STUB_KEY}")) {
            return Answer::error(401, "invalid_request_error", "Invalid API Key provided");
        }
        let path = request.path_only();
        if path.starts_with("/v2/") && request.header("stripe-version").is_none() {
            let message = "The Stripe-Version header is required for requests to the API v2";
            return Answer::error(400, "invalid_request_error", message);
        }
        if let Some(answer) = self.ping(request).or_else(|| self.change(request)) {
            return answer;
        }
        if let Some(object) = self.find(request.account(), path) {
            return Answer::ok(&without_success(object));
        }
        let key = (request.account().to_owned(), path.to_owned());
        let known = LISTS.contains(&path).then_some(&[][..]);
        match self.lists.get(&key).map(Vec::as_slice).or(known) {
            Some(list) if request.method == Method::GET => page(list, path, &request.path),
            _ => {
                let error = json!({
                    "type": "invalid_request_error",
                    "code": "resource_missing",
                    "message": format!("No such object: '{path}'"),
                });
                Answer { status: StatusCode::NOT_FOUND, ..Answer::ok(&json!({ "error": error })) }
            }
        }
    }
}
