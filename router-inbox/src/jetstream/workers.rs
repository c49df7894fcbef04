//! The running workers. Each has a message with the time at which it expires.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Connection,
    messages::{Message, WriteError},
    read::{self, Reader},
    writes::Contended,
};
use crate::{
    StoreError,
    store::{WorkerInfo, millis::millis},
};

/// The content of a worker's message.
#[derive(Serialize, Deserialize)]
struct WorkerRecord {
    name: Arc<str>,
    handlers: Vec<Arc<str>>,
    /// In milliseconds since 1970.
    expires_at: i64,
}

impl Connection {
    /// Replaces the worker's message. A message with a `ttl` of zero has expired at once. The
    /// server deletes expired messages with a delay.
    pub(super) async fn report_worker(
        &self,
        worker: &WorkerInfo,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let WorkerInfo { name, handlers } = worker.clone();
        let subject = self.subjects.worker(&name);
        let expires_at = self.recent_time().await?.saturating_add(millis(ttl));
        let record = WorkerRecord { name, handlers, expires_at };
        let record = serde_json::to_vec(&record).map_err(StoreError::corrupt)?;
        match self.write(&[Message::new(subject, record).expire_after(ttl)]).await {
            Ok(_) => Ok(()),
            Err(WriteError::Failed(error)) => Err(error),
            Err(WriteError::Conflict) => Err(StoreError::busy(Contended)),
        }
    }

    /// Returns the running workers, sorted by name.
    pub(super) async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        let now = self.recent_time().await?;
        let mut reader = Reader::new(&self.stream, vec![self.subjects.workers()], false).await?;
        let mut workers = Vec::new();
        while let Some(message) = reader.next_existing().await? {
            let record: WorkerRecord =
                serde_json::from_slice(&message.payload).map_err(StoreError::corrupt)?;
            // The server deletes expired messages with a delay.
            if record.expires_at > now {
                workers.push(WorkerInfo::new(record.name, record.handlers));
            }
        }
        reader.close().await;
        workers.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(workers)
    }

    /// Returns the server's time. Asks the server if its last answer is too old, because only a
    /// process that follows the records asks periodically.
    pub(super) async fn recent_time(&self) -> Result<i64, StoreError> {
        if self.time.is_sync_due() {
            read::sync_time(&self.jetstream, &self.address.name, &self.time).await?;
        }
        Ok(self.time.now())
    }
}
