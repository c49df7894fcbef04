//! A server for the program to send to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use router_core::{Endpoint, Event, Failure, Outcome, Router, SigningSecret, server::Server};
use tokio::runtime::Runtime;

use crate::program::{Ran, SECRET, run};

/// A server whose handlers do what each event's type says.
pub(crate) struct Shop {
    pub(crate) url: String,
    /// The events that handlers have seen, by type and id.
    seen: Arc<Mutex<Vec<(String, String)>>>,
    _runtime: Runtime,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let runtime = Runtime::new().expect("it starts");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        let note = move |event: Event| {
            let note = (event.event_type().to_owned(), event.id().to_owned());
            notes.lock().expect("nobody panics").push(note);
            async {}
        };
        let router = Router::builder()
            .handler("audit", ["*"], note)
            .handler("fails", ["charge.failed"], async |_: Event| {
                Err::<(), _>(Failure::retry_in("later", Duration::from_secs(7)))
            })
            .handler("buries", ["charge.expired"], async |_: Event| {
                Err::<(), _>(Failure::permanent("never"))
            })
            .handler("ignores", ["charge.pending"], async |_: Event| Outcome::ignored("not ours"))
            .build()
            .expect("it is correct");
        let secret = SigningSecret::new(SECRET).expect("it is one");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port is free");
        let url = format!("http://{}/webhook", listener.local_addr().expect("it is bound"));
        let server = Server::new(Endpoint::new(secret, router));
        runtime.spawn(server.serve(listener, std::future::pending()));
        Self { url, seen, _runtime: runtime }
    }

    /// Runs the program, and tells it where the server is.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(&[arguments, &["--to", &self.url]].concat())
    }

    pub(crate) fn seen(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.seen.lock().expect("nobody panics"))
    }

    /// A text without what differs from run to run.
    pub(crate) fn steady(&self, text: &str) -> String {
        let mut steady = text.replace(&self.url, "URL");
        while let Some((start, end)) = number_before(&steady, " ms") {
            steady.replace_range(start..end, "·");
        }
        steady
    }
}

/// The last number before a unit.
fn number_before(text: &str, unit: &str) -> Option<(usize, usize)> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    text.match_indices(unit).map(|(end, _)| end).find_map(|end| {
        let start = text[..end].trim_end_matches(is_number).len();
        (start < end).then_some((start, end))
    })
}
