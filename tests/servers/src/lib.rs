//! Starts PostgreSQL, NATS and SMTP servers for tests: on the loopback interface, with a temporary
//! data directory that is deleted when the test process ends.
//!
//! If a server's program is not installed, a test that needs it is skipped, or fails if
//! `REQUIRE_POSTGRES=1`, `REQUIRE_NATS=1` or `REQUIRE_SMTP=1` is set.

#![cfg(unix)]
#![allow(clippy::missing_panics_doc, reason = "a test fails if its server does not work")]

pub mod nats;
pub mod postgres;
mod shell;
pub mod smtp;

use std::{
    env, iter,
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Returns a name that no other test of the program uses, for a database, schema, user or inbox.
pub fn unused_name() -> String {
    static USED: AtomicUsize = AtomicUsize::new(0);
    format!("test_{}", USED.fetch_add(1, Ordering::Relaxed))
}

/// Returns a port on which no process listens. It is outside the range of ephemeral ports, so that
/// no client's connection takes it while the server is down.
pub fn unused_port() -> u16 {
    let is_unused = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    iter::repeat_with(|| fastrand::u16(10_000..32_768))
        .find(is_unused)
        .expect("the iterator is infinite")
}

/// Launches up to five times, because another process may take the chosen port before the server
/// does.
fn launch_with_retries<T>(mut launch: impl FnMut() -> Result<T, String>) -> T {
    let launched = (1..5).find_map(|_| launch().ok());
    launched.unwrap_or_else(|| launch().expect("the server starts"))
}

/// Returns the program, or prints the reason to skip tests and returns `None`. Panics if the
/// program is missing and the variable, such as `REQUIRE_NATS`, is set to 1.
fn require<T>(program: Result<T, String>, variable: &str) -> Option<T> {
    program
        .map_err(|missing| {
            assert!(!is_set(variable), "{variable}=1, and {missing}");
            println!("skipped: {missing}");
        })
        .ok()
}

/// Returns a reason to skip if the program is missing, unless the variable requires it.
fn reason_to_skip<T>(program: Result<T, String>, variable: &str) -> Option<String> {
    if is_set(variable) { None } else { program.err() }
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|set| set == "1")
}
