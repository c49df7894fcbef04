//! Tests of each store: the conformance suite, and tests specific to the store.

mod erase;
mod history;
mod jetstream;
mod memory;
mod migrations;
mod postgres;
mod sqlite;
mod sqlite_modes;
mod support;
