//! The checkpoints that programs store. Each has a message, which every write replaces.

use serde::{Deserialize, Serialize};

use super::{
    Connection,
    messages::{Message, WriteError},
    read,
    writes::Contended,
};
use crate::StoreError;

/// The content of a checkpoint's message. It has the name because the subject may have a hash of
/// the name instead.
#[derive(Serialize, Deserialize)]
struct CheckpointRecord {
    name: String,
    value: String,
}

impl Connection {
    /// Returns the value of a checkpoint.
    pub(super) async fn checkpoint(&self, name: &str) -> Result<Option<String>, StoreError> {
        let Some(message) = read::last(&self.stream, &self.subjects.checkpoint(name)).await? else {
            return Ok(None);
        };
        let record: CheckpointRecord =
            serde_json::from_slice(&message.payload).map_err(StoreError::corrupt)?;
        Ok(Some(record.value))
    }

    /// Sets a checkpoint. The message expects no revision, so the last write wins.
    pub(super) async fn set_checkpoint(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let record = CheckpointRecord { name: name.to_owned(), value: value.to_owned() };
        let record = serde_json::to_vec(&record).map_err(StoreError::corrupt)?;
        match self.write(&[Message::new(self.subjects.checkpoint(name), record)]).await {
            Ok(_) => Ok(()),
            Err(WriteError::Failed(error)) => Err(error),
            Err(WriteError::Conflict) => Err(StoreError::busy(Contended)),
        }
    }
}
