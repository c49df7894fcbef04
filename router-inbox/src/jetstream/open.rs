//! The records with something open, in memory: what is due, and whose turn it is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use super::record::{Record, Row};
use crate::{Backlog, ClaimRequest, DeliveryState};

#[derive(Default)]
pub(super) struct Open {
    /// By the subject. Without a record where that is elsewhere by now, until no older message can come.
    entries: HashMap<Arc<str>, Entry>,
    subjects: HashMap<i64, Arc<str>>,
    /// Of each handler what can be claimed, now or later.
    due: HashMap<Arc<str>, BTreeSet<Due>>,
    /// Of each handler and object the ordered deliveries. The first one's turn it is.
    lanes: HashMap<(Arc<str>, Arc<str>), BTreeSet<Turn>>,
}

struct Entry {
    revision: u64,
    record: Option<Arc<Record>>,
}

/// When, of which record, and which of its deliveries.
pub(super) type Due = (i64, i64, usize);

/// Whoever runs goes first, then the oldest; of equally old ones as they came, whenever they are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    waits: bool,
    age: i64,
    number: i64,
    at: usize,
    due: i64,
}

impl Turn {
    fn due(self) -> Due {
        (self.due, self.number, self.at)
    }
}

/// A record, and the revision that a change of it is to replace.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) subject: Arc<str>,
    pub(super) revision: u64,
    pub(super) record: Arc<Record>,
}

/// What can be claimed of a record.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) of: Located,
    pub(super) due: Vec<Due>,
}

impl Open {
    /// Takes in what a subject holds, unless something newer is known; whether it does.
    pub(super) fn put(&mut self, subject: &str, revision: u64, record: Option<Record>) -> bool {
        if self.entries.get(subject).is_some_and(|entry| entry.revision >= revision) {
            return false;
        }
        let subject: Arc<str> = subject.into();
        let record = record.map(Arc::new);
        let entry = Entry { revision, record: record.clone() };
        if let Some(before) = self.entries.insert(subject.clone(), entry).and_then(|e| e.record) {
            self.subjects.remove(&before.number);
            self.index(&before, false);
        }
        if let Some(record) = record {
            self.subjects.insert(record.number, subject);
            self.index(&record, true);
        }
        true
    }

    /// Forgets what a subject held, which nobody has told of.
    pub(super) fn remove(&mut self, subject: &str) {
        if let Some(Entry { record: Some(record), .. }) = self.entries.remove(subject) {
            self.subjects.remove(&record.number);
            self.index(&record, false);
        }
    }

    /// Forgets what was known before this revision and is not among those that are still there.
    pub(super) fn keep(&mut self, there: &BTreeSet<String>, before: u64) {
        let is_gone = |(subject, entry): &(&Arc<str>, &Entry)| {
            entry.revision <= before && !there.contains(&***subject)
        };
        let gone: Vec<_> = self.entries.iter().filter(is_gone).map(|(s, _)| s.clone()).collect();
        gone.iter().for_each(|subject| self.remove(subject));
    }

    /// Forgets what moved elsewhere by then: no older message of theirs can come any more.
    pub(super) fn forget_moved(&mut self, until: u64) {
        self.entries.retain(|_, entry| entry.record.is_some() || entry.revision > until);
    }

    pub(super) fn find(&self, number: i64) -> Option<Located> {
        let subject = self.subjects.get(&number)?;
        self.at(subject)
    }

    pub(super) fn at(&self, subject: &str) -> Option<Located> {
        let (subject, entry) = self.entries.get_key_value(subject)?;
        let record = entry.record.clone()?;
        Some(Located { subject: subject.clone(), revision: entry.revision, record })
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.entries.values().filter_map(|entry| entry.record.as_ref())
    }

    /// Whether a delivery waits for another of its handler and object.
    pub(super) fn is_blocked(&self, record: &Record, at: usize) -> bool {
        let row = &record.deliveries[at];
        let lane = (row.handler.clone(), record.about.lane.clone());
        let first = || self.lanes.get(&lane)?.first();
        let is_first = || first().is_some_and(|turn| (turn.number, turn.at) == (record.number, at));
        row.ordered && row.state == DeliveryState::Waiting && !is_first()
    }

    /// How many of a handler's could be claimed.
    pub(super) fn due(&self, handler: &str, now: i64) -> u64 {
        let due = self.due.get(handler).into_iter().flatten();
        due.take_while(|(due, _, _)| *due <= now).count() as u64
    }

    /// What has been due longest, chosen among `spread` times as much as is wanted.
    pub(super) fn pick(&self, wanted: &ClaimRequest, now: i64, spread: usize) -> Vec<Pick> {
        let mut due = Vec::new();
        for (handler, room) in &wanted.handlers {
            let most = room.min(&wanted.limit).saturating_mul(spread);
            let of_handler = self.due.get(handler).into_iter().flatten();
            let of_handler = of_handler.take_while(|(due, _, _)| *due <= now).take(most);
            due.extend(of_handler.map(|due| (*due, handler)));
        }
        due.sort_unstable();
        due.truncate(wanted.limit.saturating_mul(spread));
        if spread > 1 {
            fastrand::shuffle(&mut due);
        }
        let mut room: HashMap<_, _> = wanted.handlers.iter().cloned().collect();
        let mut picks: BTreeMap<i64, Pick> = BTreeMap::new();
        let has_room = due.into_iter().filter(|(_, handler)| {
            let room = room.get_mut(*handler).filter(|room| **room > 0);
            room.is_some_and(|room| {
                *room -= 1;
                true
            })
        });
        for (due, _) in has_room.take(wanted.limit) {
            if let Some(of) = self.find(due.1) {
                picks.entry(due.1).or_insert(Pick { of, due: Vec::new() }).due.push(due);
            }
        }
        picks.into_values().collect()
    }

    pub(super) fn backlog(&self, now: i64) -> Vec<Backlog> {
        let mut backlog = BTreeMap::new();
        let rows = self
            .records()
            .flat_map(|record| record.deliveries.iter().map(|row| (row, record.about.stored_at)));
        for (row, stored_at) in rows.filter(|(row, _)| row.is_open()) {
            let handler = row.handler.clone();
            let empty = Backlog { handler, waiting: 0, running: 0, oldest: Duration::ZERO };
            let of_handler = backlog.entry(row.handler.clone()).or_insert(empty);
            match row.state {
                DeliveryState::Running => of_handler.running += 1,
                _ => of_handler.waiting += 1,
            }
            let age = Duration::from_millis(u64::try_from(now - stored_at).unwrap_or(0));
            of_handler.oldest = of_handler.oldest.max(age);
        }
        backlog.into_values().collect()
    }

    /// Puts what is open of a record where it can be found, or takes it away.
    fn index(&mut self, record: &Record, is_there: bool) {
        for (at, row) in record.deliveries.iter().enumerate().filter(|(_, row)| row.is_open()) {
            let due = (row.due, record.number, at);
            if row.ordered {
                self.index_in_lane(record, row, due, is_there);
            } else {
                self.index_due(&row.handler, due, is_there);
            }
        }
    }

    fn index_in_lane(&mut self, record: &Record, row: &Row, due: Due, is_there: bool) {
        let key = (row.handler.clone(), record.about.lane.clone());
        let lane = self.lanes.entry(key.clone()).or_default();
        let before = lane.first().copied();
        let (waits, (due, number, at)) = (row.state != DeliveryState::Running, due);
        let turn = Turn { waits, age: record.age, number, at, due };
        if is_there {
            lane.insert(turn)
        } else {
            lane.remove(&turn)
        };
        let after = lane.first().copied();
        if lane.is_empty() {
            self.lanes.remove(&key);
        }
        if before != after {
            if let Some(turn) = before {
                self.index_due(&row.handler, turn.due(), false);
            }
            if let Some(turn) = after {
                self.index_due(&row.handler, turn.due(), true);
            }
        }
    }

    fn index_due(&mut self, handler: &Arc<str>, due: Due, is_there: bool) {
        let of_handler = self.due.entry(handler.clone()).or_default();
        if is_there {
            of_handler.insert(due)
        } else {
            of_handler.remove(&due)
        };
        if of_handler.is_empty() {
            self.due.remove(handler);
        }
    }
}
