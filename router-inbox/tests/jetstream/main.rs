//! The store in NATS JetStream, beside real servers.

mod servers;
#[path = "../support/mod.rs"]
mod support;
