//! Tests of the plugin, in one program.

#![cfg(unix)] // The crate that starts servers needs a Unix shell.

mod mailer;
