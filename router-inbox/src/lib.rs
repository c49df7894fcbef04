//! The durable inbox: an event is stored, Stripe is answered, and each of its handlers is run until it is
//! done.
//!
//! This crate has as yet the stores: the [`Store`] that an inbox is made of, the embedded `SqliteStore`, and, with
//! the feature `conformance`, the suite that every store passes. What receives into a store and delivers from it is
//! to come.
//!
//! What is kept is a **delivery** for each event and each of its handlers, under the handler's stable name, so
//! that one which fails neither holds the others up nor runs them again. Whoever runs one holds it by a **lease**
//! that ends by itself, so that what a dead process held goes to another; each lease has a token, so that one
//! which slept past its lease can write nothing any more.

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;

#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
pub use self::store::{
    Change, Changed, Claim, Completed, Count, End, Filter, HandlerStatus, KEPT_AT_LEAST,
    KeptDelivery, Lease, Listed, ListedDelivery, ListedEvent, NewDelivery, NewEvent, Operations,
    Place, PurgeTooSoon, Replayed, Selection, Shown, State, Status, Store, StoreError, Stored,
    Wanted,
};
