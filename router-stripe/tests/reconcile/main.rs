//! The search for missed events, against the stub.

#[path = "../support/clock.rs"]
mod clock;
mod endpoints;
mod events;
mod interrupted;
mod pass;
mod reader;
mod retention;
mod shop;
mod telemetry;
mod thin_events;
