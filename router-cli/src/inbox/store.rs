//! Opens the inbox's store, and describes its errors.

use std::time::Duration;

use router_catalog::{check_name, nearest_of};
use router_core::{
    clock::{Clock as _, SystemClock},
    handler::ErrorChain,
};
use router_inbox::{
    JetStreamStore, PostgresStore, SqliteStore, StoreError,
    store::{Operations, StoreErrorKind},
};

use crate::error::Error;

/// Time limit of opening the inbox, which may include a migration, and of each operation on it. It
/// is longer than the 5 minutes after which PostgreSQL ends a statement, because that error tells
/// more.
const LIMIT: Duration = Duration::from_secs(6 * 60);

/// Opens an existing inbox. Never creates one.
pub(crate) async fn open(url: &str) -> Result<Box<dyn Operations>, Error> {
    tokio::select! {
        opened = open_unlimited(url) => opened,
        () = SystemClock.sleep(LIMIT) => Err(no_answer()),
    }
}

async fn open_unlimited(url: &str) -> Result<Box<dyn Operations>, Error> {
    match url.split_once(':') {
        Some(("sqlite", _)) => {
            let opened = SqliteStore::options().create_if_missing(false).open(url).await;
            opened.map(boxed).map_err(|error| {
                let hint = match error.kind() {
                    StoreErrorKind::Misuse => {
                        "; pass the inbox as `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX"
                    }
                    _ => "",
                };
                Error::Inbox(error.kind(), format!("{}{hint}", ErrorChain::new(&error).text()))
            })
        }
        Some(("postgres" | "postgresql", _)) => {
            let options = PostgresStore::options().create_if_missing(false);
            options.connect(url).await.map(boxed).map_err(open_error)
        }
        Some(("nats" | "tls", _)) => {
            let options = JetStreamStore::options().create_if_missing(false);
            options.connect(url).await.map(boxed).map_err(open_error)
        }
        // The URL is not repeated: it may contain a password.
        _ => {
            let why = "--inbox: expected `sqlite:FILE`, as in `sqlite:inbox.db`; \
                       `postgres://user:password@host:5432/database` for PostgreSQL; or \
                       `nats://user:password@host:4222` for NATS JetStream";
            Err(Error::Usage(why.to_owned()))
        }
    }
}

/// Converts an error from opening a store at a server.
fn open_error(error: StoreError) -> Error {
    Error::Inbox(error.kind(), format!("--inbox: {}", ErrorChain::new(&error).text()))
}

/// Waits for an operation on an open store.
///
/// # Errors
///
/// Fails if the operation fails, or if a server or disk that hangs does not answer within
/// [`LIMIT`].
pub(crate) async fn within_limit<T>(
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Error> {
    tokio::select! {
        result = operation => {
            result.map_err(|error| Error::Inbox(error.kind(), ErrorChain::new(&error).text()))
        }
        () = SystemClock.sleep(LIMIT) => Err(no_answer()),
    }
}

fn no_answer() -> Error {
    let message = format!(
        "the inbox did not answer within {}: its server or disk hangs, or a long-running transaction \
         blocks it; if the command changes something, check with `event-router inbox list` whether it \
         did before you repeat it",
        humantime::format_duration(LIMIT)
    );
    Error::Inbox(StoreErrorKind::Busy, message)
}

/// Fails if the inbox has no deliveries for a handler of this name.
pub(super) async fn check_handler(store: &dyn Operations, handler: &str) -> Result<(), Error> {
    let status = within_limit(store.status()).await?;
    let known: Vec<&str> = status.handlers.iter().map(|known| &*known.handler).collect();
    if known.contains(&handler) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "handler `{handler}` has no deliveries in this inbox; {}",
        suggest_handler(handler, &known)
    )))
}

/// Checks the name of a handler that may not exist yet.
pub(super) fn parse_handler(name: &str) -> Result<String, String> {
    check_name(name).map_err(|error| format!("a handler's name {error}"))?;
    Ok(name.to_owned())
}

/// Returns a warning if one of these handlers has never had a delivery: it is either new or
/// misspelled.
pub(super) async fn unknown_handler_warning(
    store: &dyn Operations,
    handlers: impl IntoIterator<Item = &str>,
) -> Result<Option<String>, Error> {
    let status = within_limit(store.status()).await?;
    let known: Vec<&str> = status.handlers.iter().map(|handler| &*handler.handler).collect();
    let unknown = handlers.into_iter().find(|name| !known.contains(name));
    Ok(unknown.map(|handler| {
        let suggestion = suggest_handler(handler, &known);
        format!("handler `{handler}` has no deliveries in this inbox ({suggestion}); ")
    }))
}

/// Suggests the known handler that is nearest to an unknown name.
fn suggest_handler(handler: &str, known: &[&str]) -> String {
    // A default name is `module::function`, of which the module may have been left out.
    let is_in_module = |known: &&&str| known.rsplit("::").next() == Some(handler);
    let nearest = known.iter().find(is_in_module).copied();
    match nearest.or_else(|| nearest_of(handler, known.iter().copied())) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if known.is_empty() => "nor has any other handler".to_owned(),
        None => format!("handlers with deliveries: {}", known.join(", ")),
    }
}

fn boxed(store: impl Operations + 'static) -> Box<dyn Operations> {
    Box::new(store)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn operation_that_hangs_fails_after_limit() {
        let began = SystemClock.monotonic();
        let result = tokio::select! {
            result = within_limit(pending::<Result<(), StoreError>>()) => result,
            () = SystemClock.sleep(LIMIT * 2) => panic!("the operation has no limit"),
        };
        let error = result.unwrap_err();
        assert!(SystemClock.monotonic() - began >= LIMIT);
        assert_eq!(
            error.to_string(),
            "the inbox did not answer within 6m: its server or disk hangs, or a long-running \
             transaction blocks it; if the command changes something, check with `event-router inbox \
             list` whether it did before you repeat it"
        );
    }
}
