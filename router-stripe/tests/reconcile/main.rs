//! The search for missed events, against the stub.

mod events;
mod pass;
mod reader;
