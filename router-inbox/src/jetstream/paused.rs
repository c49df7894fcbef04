//! The handlers that an operator has paused. One message has all of them, because each worker reads
//! it every second.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Connection,
    messages::{Message, WriteError},
    read,
    writes::{Contended, MAX_ATTEMPTS},
};
use crate::{StoreError, store::PausedHandler};

/// The content of the message: the paused handlers by name.
type Records = BTreeMap<Arc<str>, PauseRecord>;

#[derive(Clone, Serialize, Deserialize)]
struct PauseRecord {
    /// In milliseconds since 1970.
    paused_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Connection {
    /// Returns the paused handlers, sorted by name.
    pub(super) async fn paused_handlers(&self) -> Result<Vec<PausedHandler>, StoreError> {
        let (records, _) = self.pause_records().await?;
        Ok(records.into_iter().map(|(name, record)| record.into_handler(name)).collect())
    }

    /// Pauses a handler, and returns its earlier record.
    pub(super) async fn pause(
        &self,
        handler: &str,
        note: Option<&str>,
    ) -> Result<Option<PausedHandler>, StoreError> {
        let now = self.recent_time().await?;
        let earlier = self.change_pauses(|records| {
            let earlier = records.get(handler).cloned();
            let record = records.entry(handler.into());
            let record = record.or_insert(PauseRecord { paused_at: now, note: None });
            if let Some(note) = note {
                record.note = Some(note.to_owned());
            }
            earlier
        });
        Ok(earlier.await?.map(|earlier| earlier.into_handler(handler.into())))
    }

    /// Resumes a handler, and returns the record of its pause.
    pub(super) async fn resume(&self, handler: &str) -> Result<Option<PausedHandler>, StoreError> {
        let resumed = self.change_pauses(|records| records.remove(handler)).await?;
        Ok(resumed.map(|record| record.into_handler(handler.into())))
    }

    /// Changes the records by compare-and-set.
    async fn change_pauses<T>(&self, change: impl Fn(&mut Records) -> T) -> Result<T, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let (mut records, revision) = self.pause_records().await?;
            let result = change(&mut records);
            let records = serde_json::to_vec(&records).map_err(StoreError::corrupt)?;
            let message = Message::new(self.subjects.paused(), records).expect_revision(revision);
            match self.write(&[message]).await {
                Ok(_) => return Ok(result),
                Err(WriteError::Conflict) => {}
                Err(WriteError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError::busy(Contended))
    }

    /// Reads the records and their revision, which is 0 if no handler has ever been paused.
    async fn pause_records(&self) -> Result<(Records, u64), StoreError> {
        let Some(message) = read::last(&self.stream, &self.subjects.paused()).await? else {
            return Ok((Records::new(), 0));
        };
        let records = serde_json::from_slice(&message.payload).map_err(StoreError::corrupt)?;
        Ok((records, message.sequence))
    }
}

impl PauseRecord {
    fn into_handler(self, name: Arc<str>) -> PausedHandler {
        PausedHandler::from_stored(name, self.paused_at, self.note)
    }
}
