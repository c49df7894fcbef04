//! The health of an inbox and of its workers.
//!
//! ```
//! use router_core::{Router, health::HealthEndpoint};
//! use router_inbox::{Inbox, SqliteStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let url = format!("sqlite:{}/inbox.db", folder.path().display());
//! # let router = Router::builder().without_linked().handler("a", ["*"], async |_: router_core::Event| {});
//! # let shutdown = std::future::ready(());
//! let store = SqliteStore::open(&url).await?;
//! let router = router.delivered_by(&store).build()?;
//! let inbox = Inbox::new(store, router.clone());
//! let worker = inbox.worker(router);
//! // A service for `/healthz` and `/readyz`.
//! let health = HealthEndpoint::new().check(inbox.health()).check(worker.health());
//! tokio::spawn(worker.run(shutdown));
//! # Ok(())
//! # }
//! ```

pub use crate::{monitor::InboxHealth, worker::health::WorkerHealth};
