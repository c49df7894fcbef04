//! A test inbox in a temporary SQLite file.

use std::sync::OnceLock;

use router_core::{
    build::{BuildError, RouterBuilder},
    clock::{Clock as _, SystemClock},
    testing::ManualClock,
};
use sqlx::SqlitePool;
use tempfile::TempDir;

use super::TestInbox;
use crate::SqliteStore;

/// The file of a test inbox.
#[derive(Default)]
pub(super) struct TestFile {
    /// The pool for the test's own statements.
    pool: OnceLock<SqlitePool>,
    /// The folder, if the file is temporary.
    folder: Option<TempDir>,
}

impl TestFile {
    /// Returns the file for the process after a restart, which opens a pool of its own.
    pub(super) fn reopened(self) -> Self {
        Self { folder: self.folder, pool: OnceLock::new() }
    }
}

impl TestInbox {
    /// Creates an inbox in a temporary SQLite file. Its store provides `Tx<Sqlite>`.
    ///
    /// # Errors
    ///
    /// Fails if the router cannot be built. [`BuildError`] lists every problem.
    ///
    /// # Panics
    ///
    /// Panics if the file cannot be created.
    pub async fn new(router: RouterBuilder) -> Result<Self, BuildError> {
        let folder = tempfile::tempdir().expect("temporary folder is writable");
        let url = format!("sqlite:{}/inbox.db", folder.path().display());
        let clock = ManualClock::at(SystemClock.wall());
        let store = SqliteStore::options().clock(clock.clone()).open(&url).await;
        let store = store.expect("temporary folder is writable");
        let mut inbox = Self::with_store(router.delivered_by(&store), store, clock)?;
        inbox.file.folder = Some(folder);
        Ok(inbox)
    }

    /// Returns a pool on the inbox's file, to create the handlers' tables and to inspect them.
    #[must_use]
    pub fn pool(&self) -> &SqlitePool {
        self.file.pool.get_or_init(|| self.store().connect_lazy())
    }

    /// Restarts the process: drops the router with its states, and opens the file again.
    ///
    /// If a worker was dropped with attempts in flight, they count as failed when their leases
    /// expire. The clock, the endpoint's settings and the reports of [attempts](Self::attempts)
    /// survive the restart.
    ///
    /// # Errors
    ///
    /// Fails if the router cannot be built. [`BuildError`] lists every problem.
    ///
    /// # Panics
    ///
    /// Panics if the file cannot be opened again.
    pub async fn restart(self, router: RouterBuilder) -> Result<Self, BuildError> {
        let store = self.store().reopen().await.expect("file can be opened again");
        self.restart_with(router.delivered_by(&store), store)
    }
}
