//! Erases the data of events.
//!
//! The payload messages are replaced by empty ones on the same subjects, so that a redelivery still
//! finds the stored event. The empty messages have new sequences, so one more message is written by
//! which the event is found under its number. All messages are one atomic batch: if the old ones
//! were deleted first, a redelivery in between would be stored as a new event.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{
    super::{
        Connection,
        lookup::{EventsWithRecords, PayloadMessage},
        messages::{self, Message, WriteError},
        open_records::VersionedRecord,
        writes::{Contended, MAX_ATTEMPTS, Replacement},
    },
    EVENTS_PER_READ, distinct_prefix,
};
use crate::{
    StoreError,
    operations::{EraseOutcome, EraseResult},
};

/// The result of an event's erasure, and the changes to its records with the other messages to
/// write.
struct Plan {
    number: i64,
    result: EraseResult,
    replacements: Vec<Replacement>,
}

impl Connection {
    pub(super) async fn erase(&self, events: &[i64]) -> Result<Vec<EraseResult>, StoreError> {
        let mut results = Vec::with_capacity(events.len());
        let mut remaining = events;
        while !remaining.is_empty() {
            let (group, rest) = remaining.split_at(distinct_prefix(remaining).min(EVENTS_PER_READ));
            results.extend(self.erase_group(group).await?);
            remaining = rest;
        }
        Ok(results)
    }

    async fn erase_group(&self, events: &[i64]) -> Result<Vec<EraseResult>, StoreError> {
        let mut results = BTreeMap::new();
        for _ in 0..MAX_ATTEMPTS {
            let remaining = events.iter().filter(|number| !results.contains_key(*number));
            let plans = try_join_all(remaining.map(|number| self.plan_erasure(*number))).await?;
            let messages = |plan: &Plan| {
                plan.replacements.iter().map(|replacement| 2 + replacement.others.len()).sum()
            };
            for batch in messages::batches(&plans, messages) {
                let replacements: Vec<_> =
                    batch.iter().flat_map(|plan| &plan.replacements).collect();
                match self.replace(&replacements).await {
                    Ok(tombstones) => {
                        results.extend(batch.iter().map(|plan| (plan.number, plan.result.clone())));
                        self.delete_tombstones(tombstones).await;
                    }
                    Err(WriteError::Failed(error)) => return Err(error),
                    Err(WriteError::Conflict) => {}
                }
            }
            if results.len() == events.len() {
                return Ok(events.iter().map(|number| results[number].clone()).collect());
            }
        }
        Err(StoreError::busy(Contended))
    }

    async fn plan_erasure(&self, number: i64) -> Result<Plan, StoreError> {
        let unchanged = |result| Plan { number, result, replacements: Vec::new() };
        let Some(meta) = self.event_by_number(number).await? else {
            return Ok(unchanged(EraseResult::not_found()));
        };
        let EventsWithRecords { payloads, records } = self.records_of(&meta).await?;
        let Some(last) = payloads.last() else { return Ok(unchanged(EraseResult::not_found())) };
        let deliveries = records.iter().flat_map(|base| &base.record.deliveries);
        let is_erased = records.iter().any(|base| base.record.meta.is_erased());
        let outcome = EraseOutcome::new(deliveries.map(|delivery| delivery.state), is_erased);
        let result = EraseResult::new(&*last.meta.id, outcome);
        if outcome != EraseOutcome::Erased {
            return Ok(unchanged(result));
        }
        let mut replacements = Vec::with_capacity(records.len());
        for (payload, base) in payloads.iter().zip(records) {
            replacements.push(self.erasure(number, payload, base).await?);
        }
        // Rejected if a replay has added a generation, which must be erased, too.
        let mut next = last.meta.clone();
        next.generation = next.generation.saturating_add(1);
        let erased = &replacements[0].record.meta;
        let message = Message::event(self.subjects.erased(number), erased, Bytes::new())?
            .expect_last_of(&self.subjects.event(&next), 0);
        replacements[0].others.push(message);
        Ok(Plan { number, result, replacements })
    }

    /// Returns the change to one generation of the event with this number. The redelivered payloads
    /// expect no revision, because they are written only together with the record.
    async fn erasure(
        &self,
        number: i64,
        payload: &PayloadMessage,
        base: VersionedRecord,
    ) -> Result<Replacement, StoreError> {
        let now = self.time.now();
        let mut record = (*base.record).clone();
        record.meta.erased = Some(number);
        record.deliveries.iter_mut().for_each(|delivery| delivery.erase(now));
        let empty = |PayloadMessage { subject, meta, .. }: &PayloadMessage| {
            let mut meta = meta.clone();
            meta.erased = Some(number);
            Message::event(subject.clone(), &meta, Bytes::new())
        };
        let mut others = vec![empty(payload)?.expect_revision(payload.sequence)];
        for copy in self.copies(&base.record).await? {
            others.push(empty(&copy)?);
        }
        Ok(Replacement { base, record, others })
    }
}
