//! A server that the program sends events to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use router_core::{Endpoint, Event, Failure, Outcome, Router, SigningSecret, server::Server};
use tokio::runtime::Runtime;

use crate::program::{CliOutput, SECRET, run};

/// The id of an event, and of its snapshot event.
type Twin = (String, Option<String>);

/// A server whose handlers succeed, fail or ignore an event depending on its type.
pub(crate) struct TestServer {
    pub(crate) url: String,
    /// The type and id of each event that the handlers have run for.
    seen: Arc<Mutex<Vec<(String, String)>>>,
    /// The id of each thin event that a handler has run for, and that of its snapshot event.
    twins: Arc<Mutex<Vec<Twin>>>,
    _runtime: Runtime,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().expect("the runtime starts");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = seen.clone();
        let audit = move |event: Event| {
            let entry = (event.event_type().to_owned(), event.id().to_owned());
            record.lock().expect("no handler panics").push(entry);
            async {}
        };
        let twins = Arc::new(Mutex::new(Vec::new()));
        let record = twins.clone();
        let thin = move |event: Event| {
            let twin = (event.id().to_owned(), event.snapshot_event().map(str::to_owned));
            record.lock().expect("no handler panics").push(twin);
            async {}
        };
        let router = Router::builder()
            .handler("audit", ["*"], audit)
            .handler("thin", ["v1.*"], thin)
            .handler("fails", ["charge.failed"], async |_: Event| {
                Err::<(), _>(Failure::retry_in("later", Duration::from_secs(7)))
            })
            .handler("buries", ["charge.expired"], async |_: Event| {
                Err::<(), _>(Failure::permanent("never"))
            })
            .handler("ignores", ["charge.pending"], async |_: Event| Outcome::ignored("not ours"))
            .build()
            .expect("the router is valid");
        let secret = SigningSecret::new(SECRET).expect("the secret is valid");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port is free");
        let url =
            format!("http://{}/webhook", listener.local_addr().expect("the listener is bound"));
        let server = Server::new(Endpoint::new(secret, router));
        runtime.spawn(server.serve(listener, std::future::pending()));
        Self { url, seen, twins, _runtime: runtime }
    }

    /// Runs the program with `--to` and the server's URL.
    pub(crate) fn run(&self, arguments: &[&str]) -> CliOutput {
        run(&[arguments, &["--to", &self.url]].concat())
    }

    /// Takes the events that the handlers have run for since the last call.
    pub(crate) fn seen(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.seen.lock().expect("no handler panics"))
    }

    /// Takes the ids of the thin events that a handler has run for since the last call, each with
    /// that of its snapshot event.
    pub(crate) fn twins(&self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut *self.twins.lock().expect("no handler panics"))
    }

    /// Replaces the server's URL and durations, which differ from run to run.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut redacted = text.replace(&self.url, "URL");
        while let Some((start, end)) = number_before(&redacted, " ms") {
            redacted.replace_range(start..end, "·");
        }
        redacted
    }
}

/// Returns the range of the first number in front of a unit.
fn number_before(text: &str, unit: &str) -> Option<(usize, usize)> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    text.match_indices(unit).map(|(end, _)| end).find_map(|end| {
        let start = text[..end].trim_end_matches(is_number).len();
        (start < end).then_some((start, end))
    })
}
