//! Replaces records by compare-and-set.

use std::{borrow::Borrow, collections::BTreeSet};

use futures_util::future::{join_all, try_join_all};

use super::{
    Connection,
    messages::{self, Message, WriteError},
    open_records::VersionedRecord,
    read,
    record::{Record, Stage},
};
use crate::StoreError;

/// Maximum number of attempts of a write that conflicts with writes of other processes.
pub(super) const MAX_ATTEMPTS: usize = 16;

#[derive(Debug, thiserror::Error)]
#[error("other processes keep changing the same records; retry")]
pub(super) struct Contended;

/// A changed record, and the revision that it replaces.
pub(super) struct Replacement {
    /// The revision that the change is based on. The write fails if it has been replaced.
    pub(super) base: VersionedRecord,
    pub(super) record: Record,
    /// Further messages, which are written atomically with the record.
    pub(super) others: Vec<Message>,
}

impl Replacement {
    pub(super) fn new(base: VersionedRecord, record: Record) -> Self {
        Self { base, record, others: Vec::new() }
    }
}

impl Connection {
    /// Replaces records in one atomic batch.
    ///
    /// Returns the sequences of the tombstones that the caller should delete, because they would be
    /// counted as records until they expire.
    pub(super) async fn replace(
        &self,
        replacements: &[impl Borrow<Replacement>],
    ) -> Result<Vec<u64>, WriteError> {
        let replacements = || replacements.iter().map(Borrow::borrow);
        let mut messages = Vec::new();
        for replacement in replacements() {
            messages.extend(self.replacement_messages(replacement)?);
        }
        let mut sequence = self.write(&messages).await? - messages.len() as u64;
        let mut tombstones = Vec::new();
        for replacement in replacements() {
            tombstones.extend(self.apply_replacement(replacement, &mut sequence));
        }
        Ok(tombstones)
    }

    /// Returns the messages of a replacement: the new record, and, if its subject changes, a
    /// tombstone on the old subject, then the further ones.
    pub(super) fn replacement_messages(
        &self,
        replacement: &Replacement,
    ) -> Result<Vec<Message>, StoreError> {
        let Replacement { base, record, others } = replacement;
        let subject = self.subjects.record(record);
        let mut messages = if *subject == *base.subject {
            vec![Message::record(subject, record)?.expect_revision(base.revision)]
        } else {
            let tombstone = Message::tombstone(base.subject.to_string());
            let tombstone = tombstone.expect_revision(base.revision);
            vec![Message::record(subject, record)?, tombstone]
        };
        messages.extend(others.iter().cloned());
        Ok(messages)
    }

    /// Updates open records, each independently of the others, and retries on conflicts.
    ///
    /// For each number, `update` receives the open record with that number, or `None` if there is
    /// none. It returns `true` if the record must be written, and is called again after a conflict.
    pub(super) async fn update_open(
        &self,
        numbers: BTreeSet<i64>,
        mut update: impl FnMut(i64, Option<&mut Record>) -> bool,
    ) -> Result<(), StoreError> {
        let mirror = self.mirror().await?;
        let mut remaining = numbers;
        for _ in 0..MAX_ATTEMPTS {
            let mut replacements = Vec::new();
            for number in std::mem::take(&mut remaining) {
                let base = mirror.records().find(number);
                let mut record = base.as_ref().map(|base| (*base.record).clone());
                if update(number, record.as_mut())
                    && let (Some(base), Some(record)) = (base, record)
                {
                    replacements.push(Replacement::new(base, record));
                }
            }
            try_join_all(replacements.iter_mut().map(|change| self.remember_done(change))).await?;
            for batch in messages::batches(&replacements, |change| 2 + change.others.len()) {
                match self.replace(batch).await {
                    Ok(_) => {}
                    Err(WriteError::Failed(error)) => return Err(error),
                    Err(WriteError::Conflict) => {
                        remaining.extend(self.replace_individually(batch).await?);
                    }
                }
            }
            if remaining.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError::busy(Contended))
    }

    /// Replaces records in separate writes, after their batch had a conflict.
    ///
    /// If a write has a conflict, its record is read again into the local view. Returns the numbers
    /// of these records.
    async fn replace_individually(
        &self,
        replacements: &[Replacement],
    ) -> Result<BTreeSet<i64>, StoreError> {
        let results = replacements.iter().map(async |replacement| {
            let number = replacement.record.number;
            // In a batch of one, the conflict was with this record.
            match if replacements.len() == 1 {
                Err(WriteError::Conflict)
            } else {
                self.replace(std::slice::from_ref(replacement)).await
            } {
                Ok(_) => Ok(None),
                Err(WriteError::Failed(error)) => Err(error),
                Err(WriteError::Conflict) => {
                    self.refresh(&replacement.base.subject).await?;
                    Ok(Some(number))
                }
            }
        });
        Ok(try_join_all(results).await?.into_iter().flatten().collect())
    }

    /// Reads the current message on an open record's subject into the local view.
    pub(super) async fn refresh(&self, subject: &str) -> Result<(), StoreError> {
        let Some(mirror) = self.mirror.get() else { return Ok(()) };
        match read::last(&self.stream, subject).await? {
            Some(message) => {
                let record = Record::from_message(&message.payload, message.sequence);
                let record = record.map_err(StoreError::corrupt)?;
                mirror.records().put(subject, message.sequence, record);
            }
            None if self.confirm_empty(subject).await? => mirror.records().remove(subject),
            None => {}
        }
        Ok(())
    }

    /// Returns whether a subject has no message, as confirmed by the leader.
    ///
    /// A former leader that has not noticed its replacement may answer a read without the latest
    /// messages. Only the current leader accepts a write, so this writes a tombstone that expects
    /// the subject to be empty.
    pub(super) async fn confirm_empty(&self, subject: &str) -> Result<bool, StoreError> {
        let tombstone = Message::tombstone(subject.to_owned()).expect_revision(0);
        match self.write(&[tombstone]).await {
            Ok(_) => Ok(true),
            Err(WriteError::Conflict) => Ok(false),
            Err(WriteError::Failed(error)) => Err(error),
        }
    }

    /// Updates the local view with a record that this process has just written, without waiting
    /// for the follower to read it.
    pub(super) fn apply_written(&self, record: &Record, sequence: u64) {
        let Some(mirror) = self.mirror.get() else { return };
        if record.stage() == Stage::Open {
            let subject = self.subjects.record(record);
            let mut record = record.clone();
            if record.number == 0 {
                record.number = super::record::number_from_sequence(sequence);
            }
            mirror.records().put(&subject, sequence, Some(record));
        }
    }

    /// Updates the local view with a replacement that this process has just written.
    ///
    /// Before the call, `sequence` must be one less than the sequence of the replacement's first
    /// message. After the call, it is the sequence of the replacement's last message.
    ///
    /// Returns the tombstone's sequence if the caller should delete the tombstone. The tombstone of
    /// an open record must stay until it expires, because the followers of other processes have to
    /// read it.
    pub(super) fn apply_replacement(
        &self,
        replacement: &Replacement,
        sequence: &mut u64,
    ) -> Option<u64> {
        let Replacement { base, record, others } = replacement;
        let first = *sequence + 1;
        self.apply_written(record, first);
        let is_moved = *self.subjects.record(record) != *base.subject;
        *sequence = first + u64::from(is_moved) + others.len() as u64;
        if !is_moved {
            return None;
        }
        let tombstone = first + 1;
        if base.record.stage() != Stage::Open {
            return Some(tombstone);
        }
        if let Some(mirror) = self.mirror.get() {
            mirror.records().put(&base.subject, tombstone, None);
        }
        None
    }

    /// Deletes tombstones that would be counted as records until they expire. Failures are ignored,
    /// because a tombstone that is not deleted expires.
    pub(super) async fn delete_tombstones(&self, sequences: impl IntoIterator<Item = u64>) {
        let deletions = sequences.into_iter().map(|sequence| self.stream.delete_message(sequence));
        drop(join_all(deletions).await);
    }
}
