//! The store behind an address.

use router_catalog::nearest_of;
use router_inbox::{JetStreamStore, Operations, PostgresStore, SqliteStore, StoreError};

use crate::error::Error;

/// Opens the store of an inbox that is there.
pub(super) async fn open(url: &str) -> Result<Box<dyn Operations>, Error> {
    match url.split_once(':') {
        Some(("sqlite", _)) => SqliteStore::open_existing(url).await.map(boxed).map_err(|error| {
            let way_out =
                "say where the inbox is with `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX";
            Error::Usage(format!("{}; {way_out}", said(&error)))
        }),
        Some(("postgres" | "postgresql", _)) => {
            PostgresStore::connect_existing(url).await.map(boxed).map_err(unreachable)
        }
        Some(("nats" | "tls", _)) => {
            JetStreamStore::connect_existing(url).await.map(boxed).map_err(unreachable)
        }
        // It may have a password in it.
        _ => {
            let why = "--inbox: write where the inbox is: in a file, `sqlite:inbox.db`; in PostgreSQL, \
                       `postgres://user:password@host:5432/database`; or in NATS JetStream, \
                       `nats://user:password@host:4222`";
            Err(Error::Usage(why.to_owned()))
        }
    }
}

/// What a server says that does not let the inbox be opened.
fn unreachable(error: StoreError) -> Error {
    Error::Usage(format!("--inbox: {}", said(&error)))
}

/// What a store did not do, once it was open.
pub(super) fn failed(error: StoreError) -> Error {
    Error::Inbox(said(&error))
}

/// Refuses the name of a handler that the inbox does not know.
pub(super) async fn check_handler(store: &dyn Operations, handler: &str) -> Result<(), Error> {
    let status = store.status().await.map_err(failed)?;
    let known: Vec<&str> = status.handlers.iter().map(|known| &*known.handler).collect();
    if known.contains(&handler) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "this inbox has had no delivery for `{handler}`; {}",
        meant(handler, &known)
    )))
}

/// Which of the known handlers was most likely meant.
pub(super) fn meant(handler: &str, known: &[&str]) -> String {
    // Whoever leaves its module out means it too.
    let in_module = |known: &&&str| known.rsplit("::").next() == Some(handler);
    let nearest = known.iter().find(in_module).copied();
    match nearest.or_else(|| nearest_of(handler, known.iter().copied())) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if known.is_empty() => "it has had none at all".to_owned(),
        None => format!("it has had some for: {}", known.join(", ")),
    }
}

fn boxed(store: impl Operations + 'static) -> Box<dyn Operations> {
    Box::new(store)
}

/// With its causes; without what it says of every error.
fn said(StoreError(error): &StoreError) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}
