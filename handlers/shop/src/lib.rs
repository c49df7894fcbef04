//! An example plugin: the handlers of a shop, which write to the inbox's database.
//!
//! | module | handlers |
//! |---|---|
//! | [`orders`] | orders of Stripe Checkout, and their refunds |
//! | [`subscriptions`] | the present state of each subscription |
//! | [`disputes`] | an alert with the due date of each dispute |
//! | [`mirror`] | the present state of every object |
//!
//! Each handler is written once, for SQLite and for PostgreSQL, and takes a
//! [`Database`](database::Database). It needs an inbox in one of the two: without one, `build()`
//! fails. An application calls [`database::migrate_sqlite`] or [`database::migrate_postgres`], and
//! then registers the handlers with `.plugins([shop::PLUGIN])`. If it adds a
//! [`router_stripe::Client`] as a state, subscriptions and the mirror fetch each updated object, so
//! that two updates in one second lead to the present state (see [`current`]).
//! `cargo run` has the shop, and shows its tables on a page.

#![expect(
    clippy::missing_errors_doc,
    reason = "a handler fails if the database does, or if the event lacks a field"
)]

pub mod current;
pub mod database;
pub mod disputes;
pub mod mirror;
pub mod orders;
pub mod subscriptions;

router_core::plugin!();
