//! A durable inbox: stores each event, then answers Stripe, then runs the event's handlers until
//! they succeed.
//!
//! An [`Inbox`] is the service behind an endpoint: it receives and stores events. A [`Worker`]
//! delivers them to the handlers. Both use the same [`Store`]:
//!
//! - `SqliteStore`: embedded, for one machine (feature `sqlite`, on by default);
//! - `PostgresStore`: for several machines (feature `postgres`);
//! - `JetStreamStore`: NATS JetStream, for loads beyond a single database (feature `jetstream`);
//! - your own implementation, tested with the test suite of the feature `conformance`.
//!
//! A **delivery** is stored for each event and handler, under the handler's stable name. A failed
//! handler is retried without running the event's other handlers again or delaying them. A worker
//! that claims a delivery receives a **lease** on it. The lease expires, so that another worker can
//! take over after a crash. It also contains a fencing token. A worker that resumes after another
//! one has taken over holds an outdated token, and its changes are rejected.
//!
//! # Modules
//!
//! Each item is in its module. The root also re-exports the items that most applications need.
//!
//! | module | for |
//! |---|---|
//! | `conformance` | the test suite for stores (feature `conformance`) |
//! | [`health`] | the health of inboxes and workers, for readiness checks |
//! | [`operations`] | the types of [`store::Operations`], the operator's interface |
//! | [`store`] | the contract of a store, for implementors: claims, leases, outcomes |
//! | [`telemetry`] | metrics |
//! | `testing` | an inbox for the tests of handlers (feature `testing`) |
//! | [`tx`] | providing [`Tx`] from a SQL store of your own |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `sqlite` (default) | `SqliteStore`, a file that several processes on one machine can share |
//! | `postgres` | `PostgresStore`, with TLS by rustls and the system's certificates |
//! | `jetstream` | `JetStreamStore`, with TLS by rustls and the system's certificates |
//! | `testing` | `testing::TestInbox`, an inbox for the tests of handlers |
//! | `conformance` | `conformance`, the test suite for stores, and an in-memory store |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod answers;
mod bounded;
#[cfg(feature = "conformance")]
pub mod conformance;
mod group_commit;
pub mod health;
mod inbox;
#[cfg(feature = "jetstream")]
mod jetstream;
mod monitor;
#[cfg(feature = "postgres")]
mod postgres;
mod receipt;
#[cfg(feature = "sqlite")]
mod sqlite;
pub mod store;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod tx;
mod worker;

#[cfg(feature = "jetstream")]
pub use self::jetstream::{JetStreamStore, options::JetStreamOptions};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresStore, options::PostgresOptions};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteStore, options::SqliteOptions};
pub use self::store::{Store, StoreError, operations};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use self::tx::Tx;
pub use self::{
    inbox::{Inbox, InboxError},
    receipt::Receipt,
    worker::Worker,
};
/// The NATS client, re-exported in the version whose types [`JetStreamStore`] takes.
#[cfg(feature = "jetstream")]
pub use async_nats;
/// The database driver, re-exported in the version whose types [`Tx`] and the stores
/// take.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use sqlx;
