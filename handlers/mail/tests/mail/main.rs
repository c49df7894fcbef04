//! Tests of the plugin, in one program.

#![cfg(unix)] // The crate that starts servers needs a Unix shell.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod mailer;
mod receipts;
mod registered;
