//! The durable inbox: an event is stored, Stripe is answered, and each of its handlers is run until it is
//! done.
//!
//! An [`Inbox`] receives: it is the service behind an endpoint. A [`Worker`] delivers. What they share is a
//! [`Store`]: the embedded `SqliteStore`, `PostgresStore` for many machines (feature `postgres`), `JetStreamStore` past one
//! database (feature `jetstream`), or one of your own, for which the feature `conformance` has the suite that every store
//! passes.
//!
//! What is kept is a **delivery** for each event and each of its handlers, under the handler's stable name, so
//! that one which fails neither holds the others up nor runs them again. Whoever runs one holds it by a **lease**
//! that ends by itself, so that what a dead process held goes to another; each lease has a token, so that one
//! which slept past its lease can write nothing any more.

#[cfg(feature = "conformance")]
pub mod conformance;
mod group_commit;
mod inbox;
#[cfg(feature = "jetstream")]
mod jetstream;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
pub mod telemetry;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod tx;
mod worker;

#[cfg(feature = "jetstream")]
pub use self::jetstream::JetStreamStore;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
pub use self::store::{
    Backlog, Claim, ClaimRequest, Completed, DeliveryOutcome, DeliveryState, Effects, Lease, NewDelivery, NewEvent,
    Operations, OrderKey, Store, StoreError, Stored, StoredDelivery, operations,
};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use self::tx::Tx;
pub use self::{
    inbox::{Inbox, Receipt, Unstored},
    worker::Worker,
};
/// The databases' driver, in the version of which a handler's [`Tx`] is.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use sqlx;
