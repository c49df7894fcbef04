//! The open records in memory, indexed by due time and by lane.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use super::record::{Delivery, Record};
use crate::store::{
    Backlog, ClaimRequest, DeliveryState, HandlerSlots, millis::elapsed, set_back::MAX_CORRECTED,
};

#[derive(Default)]
pub(super) struct OpenRecords {
    /// Entries by subject.
    entries: HashMap<Arc<str>, Entry>,
    /// Subjects by record number.
    subjects: HashMap<i64, Arc<str>>,
    /// The deliveries of each handler that can be claimed, now or later. An ordered delivery is
    /// absent unless it is the first of its lane.
    due: HashMap<Arc<str>, BTreeSet<Due>>,
    /// The ordered deliveries of each lane, by handler and object hash. Only the first can be
    /// claimed.
    lanes: HashMap<(Arc<str>, Arc<str>), BTreeSet<LanePosition>>,
}

/// The newest known message of a subject.
struct Entry {
    revision: u64,
    /// The record, or `None` for a tombstone. A tombstone stays until no older message can arrive.
    record: Option<Arc<Record>>,
}

/// A delivery's due time, its record's number, and its index in the record.
pub(super) type Due = (i64, i64, usize);

/// A delivery's position in its lane.
///
/// A running delivery comes first, then the one with the smallest [`OrderKey::position`], and among
/// equal ones the one that was stored first. The due time does not matter.
///
/// [`OrderKey::position`]: crate::store::OrderKey::position
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LanePosition {
    is_waiting: bool,
    position: i64,
    number: i64,
    index: usize,
    due: i64,
}

impl LanePosition {
    fn due(self) -> Due {
        (self.due, self.number, self.index)
    }
}

/// A record at a certain revision.
#[derive(Debug, Clone)]
pub(super) struct VersionedRecord {
    pub(super) subject: Arc<str>,
    /// The sequence of the record's message, which a replacement has to expect.
    pub(super) revision: u64,
    pub(super) record: Arc<Record>,
}

/// A record with deliveries to claim.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) base: VersionedRecord,
    /// The deliveries to claim.
    pub(super) due: Vec<Due>,
}

impl OpenRecords {
    /// Applies a message with a record, or a tombstone if `record` is `None`. Returns `false` and
    /// changes nothing if the known revision of the subject is at least as new.
    pub(super) fn put(&mut self, subject: &str, revision: u64, record: Option<Record>) -> bool {
        if self.entries.get(subject).is_some_and(|entry| entry.revision >= revision) {
            return false;
        }
        let subject: Arc<str> = subject.into();
        let record = record.map(Arc::new);
        let entry = Entry { revision, record: record.clone() };
        let previous = self.entries.insert(subject.clone(), entry);
        if let Some(previous) = previous.and_then(|entry| entry.record) {
            self.subjects.remove(&previous.number);
            self.update_indexes(&previous, false);
        }
        if let Some(record) = record {
            self.subjects.insert(record.number, subject);
            self.update_indexes(&record, true);
        }
        true
    }

    /// Removes a subject that was found to be empty although no tombstone has been read.
    pub(super) fn remove(&mut self, subject: &str) {
        if let Some(Entry { record: Some(record), .. }) = self.entries.remove(subject) {
            self.subjects.remove(&record.number);
            self.update_indexes(&record, false);
        }
    }

    /// Removes the entries up to this revision whose subjects are not in `present`.
    pub(super) fn retain_present(&mut self, present: &BTreeSet<String>, max_revision: u64) {
        let is_gone = |(subject, entry): &(&Arc<str>, &Entry)| {
            entry.revision <= max_revision && !present.contains(&***subject)
        };
        let gone: Vec<_> = self.entries.iter().filter(is_gone).map(|(s, _)| s.clone()).collect();
        gone.iter().for_each(|subject| self.remove(subject));
    }

    /// Drops the tombstones up to this revision. The caller has read all messages up to it, so no
    /// older message of those subjects can arrive.
    pub(super) fn drop_tombstones(&mut self, max_revision: u64) {
        self.entries.retain(|_, entry| entry.record.is_some() || entry.revision > max_revision);
    }

    /// Returns the record with this number.
    pub(super) fn find(&self, number: i64) -> Option<VersionedRecord> {
        let subject = self.subjects.get(&number)?;
        self.get(subject)
    }

    /// Returns the record on this subject.
    pub(super) fn get(&self, subject: &str) -> Option<VersionedRecord> {
        let (subject, entry) = self.entries.get_key_value(subject)?;
        let record = entry.record.clone()?;
        Some(VersionedRecord { subject: subject.clone(), revision: entry.revision, record })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.entries.values().filter_map(|entry| entry.record.as_ref())
    }

    /// Returns whether a delivery is waiting behind another of its lane.
    pub(super) fn is_blocked(&self, record: &Record, index: usize) -> bool {
        let delivery = &record.deliveries[index];
        let lane = (delivery.handler.clone(), record.meta.object_hash.clone());
        let first = || self.lanes.get(&lane)?.first();
        let is_first =
            || first().is_some_and(|first| (first.number, first.index) == (record.number, index));
        delivery.order.is_some() && delivery.state == DeliveryState::Waiting && !is_first()
    }

    /// Returns the number of a handler's deliveries that can be claimed now.
    pub(super) fn count_due(&self, handler: &str, now: i64) -> u64 {
        let due = self.due.get(handler).into_iter().flatten();
        due.take_while(|(due, _, _)| *due <= now).count() as u64
    }

    /// Returns the time since the first of a handler's claimable deliveries became due.
    pub(super) fn oldest_due(&self, handler: &str, now: i64) -> Option<Duration> {
        let (due, _, _) = self.due.get(handler)?.first()?;
        elapsed(now - due)
    }

    /// Returns the numbers of up to [`MAX_CORRECTED`] records with a delivery that [is due too
    /// late].
    ///
    /// [is due too
    /// late]: Delivery::is_due_too_late
    pub(super) fn due_too_late(&self, now: i64) -> BTreeSet<i64> {
        let is_late = |record: &&Arc<Record>| {
            record.deliveries.iter().any(|delivery| delivery.is_due_too_late(now))
        };
        let late = self.iter().filter(is_late).map(|record| record.number);
        late.take(MAX_CORRECTED.into()).collect()
    }

    /// Selects deliveries to claim.
    ///
    /// The candidates of each handler are those that have been due longest, `oversampling` times as
    /// many as requested. With a factor of 1 all candidates are taken; otherwise a random choice of
    /// them.
    pub(super) fn select_due(
        &self,
        request: &ClaimRequest,
        now: i64,
        oversampling: usize,
    ) -> Vec<Candidate> {
        let due = request.handlers.iter().flat_map(|HandlerSlots { handler, free, .. }| {
            let max = free.min(&request.limit).saturating_mul(oversampling);
            let handler_due = self.due.get(handler).into_iter().flatten().copied();
            let handler_due = handler_due.take_while(|(due, _, _)| *due <= now).take(max);
            let mut handler_due: Vec<Due> = handler_due.collect();
            if oversampling > 1 {
                fastrand::shuffle(&mut handler_due);
            }
            handler_due.into_iter().map(|due| (&**handler, due))
        });
        let mut candidates: BTreeMap<i64, Candidate> = BTreeMap::new();
        for due in request.spread(due) {
            if let Some(base) = self.find(due.1) {
                candidates
                    .entry(due.1)
                    .or_insert(Candidate { base, due: Vec::new() })
                    .due
                    .push(due);
            }
        }
        candidates.into_values().collect()
    }

    pub(super) fn backlog(&self, now: i64) -> Vec<Backlog> {
        let mut backlog = BTreeMap::new();
        let deliveries = self.iter().flat_map(|record| {
            record.deliveries.iter().map(|delivery| (delivery, record.meta.stored_at))
        });
        for (delivery, stored_at) in deliveries.filter(|(delivery, _)| delivery.is_open()) {
            let handler = delivery.handler.clone();
            let handler_backlog =
                backlog.entry(handler.clone()).or_insert_with(|| Backlog::new(handler));
            match delivery.state {
                DeliveryState::Running => handler_backlog.running += 1,
                _ => handler_backlog.waiting += 1,
            }
            let age = elapsed(now - stored_at).unwrap_or_default();
            handler_backlog.oldest = handler_backlog.oldest.max(age);
        }
        for (handler, handler_backlog) in &mut backlog {
            handler_backlog.oldest_due = self.oldest_due(handler, now);
        }
        backlog.into_values().collect()
    }

    /// Adds a record's open deliveries to the indexes, or removes them.
    fn update_indexes(&mut self, record: &Record, insert: bool) {
        let deliveries = record.deliveries.iter().enumerate();
        for (index, delivery) in deliveries.filter(|(_, delivery)| delivery.is_open()) {
            let due = (delivery.due, record.number, index);
            match record.lane_position(delivery) {
                Some(position) => self.update_lane(record, delivery, position, due, insert),
                None => self.update_due(&delivery.handler, due, insert),
            }
        }
    }

    /// Adds an ordered delivery to its lane, or removes it, and keeps the lane's first delivery in
    /// the index of due deliveries.
    fn update_lane(
        &mut self,
        record: &Record,
        delivery: &Delivery,
        position: i64,
        due: Due,
        insert: bool,
    ) {
        let key = (delivery.handler.clone(), record.meta.object_hash.clone());
        let lane = self.lanes.entry(key.clone()).or_default();
        let previous_first = lane.first().copied();
        let (due, number, index) = due;
        let is_waiting = delivery.state != DeliveryState::Running;
        let position = LanePosition { is_waiting, position, number, index, due };
        if insert {
            lane.insert(position)
        } else {
            lane.remove(&position)
        };
        let first = lane.first().copied();
        if lane.is_empty() {
            self.lanes.remove(&key);
        }
        if previous_first != first {
            if let Some(previous_first) = previous_first {
                self.update_due(&delivery.handler, previous_first.due(), false);
            }
            if let Some(first) = first {
                self.update_due(&delivery.handler, first.due(), true);
            }
        }
    }

    fn update_due(&mut self, handler: &Arc<str>, due: Due, insert: bool) {
        let handler_due = self.due.entry(handler.clone()).or_default();
        if insert {
            handler_due.insert(due)
        } else {
            handler_due.remove(&due)
        };
        if handler_due.is_empty() {
            self.due.remove(handler);
        }
    }
}
