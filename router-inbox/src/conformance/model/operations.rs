//! The reference implementation of [`Operations`].

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use router_catalog::Pattern;
use router_core::{Event, event::StoredEvent};

use super::{EventRow, MemoryStore, Row, Rows};
use crate::{
    StoreError,
    operations::{
        BacklogCount, Change, ChangeOutcome, CurrentDelivery, DeliverySummary, EraseResult,
        EventDetails, EventSelector, HandlerStatus, InboxStatus, InvalidCheckpoint, ListEntry,
        ListFilter, PurgeTooSoon, ReplayResult, SelectedDelivery,
    },
    store::{DeliveryState, NewDelivery, NewEvent, Operations, PausedHandler},
};

#[async_trait]
impl Operations for MemoryStore {
    async fn status(&self) -> Result<InboxStatus, StoreError> {
        Ok(self.rows().status(self.now()))
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError> {
        Ok(self.matching(filter))
    }

    async fn show(&self, event_id: &str) -> Result<Vec<EventDetails>, StoreError> {
        let rows = self.rows();
        let mut shown = Vec::new();
        for number in &rows.with_id(event_id) {
            let row = &rows.events[number];
            let mut deliveries: Vec<_> = rows
                .deliveries
                .iter()
                .filter(|(_, delivery)| delivery.event == *number)
                .map(|(number, _)| rows.delivery(*number))
                .collect();
            deliveries.sort_by_key(|delivery| delivery.handler.clone());
            shown.push(EventDetails {
                event: row.summary.clone(),
                stored: row.stored.clone(),
                redelivered: row.redelivered.clone(),
                deliveries,
            });
        }
        shown.sort_by_key(|shown: &EventDetails| {
            let event = &shown.event;
            (event.endpoint.clone(), event.account.clone(), event.generation)
        });
        Ok(shown)
    }

    async fn select_deliveries(
        &self,
        filter: &ListFilter,
    ) -> Result<Vec<SelectedDelivery>, StoreError> {
        let listed = self.matching(filter);
        let rows = self.rows();
        let deliveries = listed.iter().rev().filter(|entry| entry.delivery.is_some());
        Ok(deliveries.map(|entry| rows.selected(entry.number)).collect())
    }

    async fn change(
        &self,
        deliveries: &[SelectedDelivery],
        change: Change,
    ) -> Result<Vec<ChangeOutcome>, StoreError> {
        let (mut rows, now) = (self.rows(), self.now());
        Ok(deliveries.iter().map(|delivery| rows.change(delivery, change, now)).collect())
    }

    async fn select(&self, selection: &EventSelector) -> Result<Vec<i64>, StoreError> {
        let (rows, now) = (self.rows(), self.now());
        let is_selected = |row: &EventRow| {
            row.key.generation() == 0
                && selection.event_id.as_ref().is_none_or(|id| row.has_id(id))
                && is_of_type(selection.event_type.as_deref(), &row.summary.event_type)
                && selection.object.as_ref().is_none_or(|object| *object == row.summary.object)
                && selection.mentions.as_ref().is_none_or(|text| row.mentions(text))
                && selection.max_age.is_none_or(|since| row.summary.stored_at >= ago(now, since))
                && selection.min_age.is_none_or(|until| row.summary.stored_at <= ago(now, until))
        };
        let selected = rows.events.iter().filter(|(_, row)| is_selected(row));
        Ok(selected.map(|(number, _)| *number).collect())
    }

    async fn replay(
        &self,
        events: &[i64],
        handlers: &[Arc<str>],
    ) -> Result<Vec<ReplayResult>, StoreError> {
        let (mut rows, now) = (self.rows(), self.now());
        Ok(events.iter().map(|number| rows.replay(*number, handlers, now)).collect())
    }

    async fn purge(&self, events: &[i64], older_than: Duration) -> Result<u64, StoreError> {
        PurgeTooSoon::check(older_than)?;
        let (mut rows, before) = (self.rows(), ago(self.now(), older_than));
        let purged = events.iter().filter(|number| rows.purge(**number, before));
        Ok(purged.count() as u64)
    }

    async fn erase(&self, events: &[i64]) -> Result<Vec<EraseResult>, StoreError> {
        let (mut rows, now) = (self.rows(), self.now());
        let results: Vec<_> = events.iter().map(|number| rows.erase(*number, now)).collect();
        EraseResult::log(&results);
        Ok(results)
    }

    async fn pause(
        &self,
        handler: &str,
        note: Option<&str>,
    ) -> Result<Option<PausedHandler>, StoreError> {
        let (mut rows, now) = (self.rows(), self.clock.wall());
        let earlier = rows.paused.get(handler).cloned();
        let record = rows.paused.entry(handler.into());
        let record = record.or_insert_with_key(|name| PausedHandler::new(name.clone(), now, None));
        if let Some(note) = note {
            record.note = Some(note.to_owned());
        }
        Ok(earlier)
    }

    async fn resume(&self, handler: &str) -> Result<Option<PausedHandler>, StoreError> {
        Ok(self.rows().paused.remove(handler))
    }

    async fn checkpoint(&self, name: &str) -> Result<Option<String>, StoreError> {
        InvalidCheckpoint::check_name(name)?;
        Ok(self.rows().checkpoints.get(name).cloned())
    }

    async fn set_checkpoint(&self, name: &str, value: &str) -> Result<(), StoreError> {
        InvalidCheckpoint::check(name, value)?;
        self.rows().checkpoints.insert(name.to_owned(), value.to_owned());
        Ok(())
    }
}

impl MemoryStore {
    /// Returns the deliveries or unhandled events that match the filter, newest first.
    fn matching(&self, filter: &ListFilter) -> Vec<ListEntry> {
        let (rows, now) = (self.rows(), self.now());
        let of_id = filter.event_id.as_ref().map(|id| rows.with_id(id));
        let has_id = |event: i64| of_id.as_ref().is_none_or(|events| events.contains(&event));
        let mut listed = match filter.unhandled {
            true => {
                let mut unhandled = rows.unhandled();
                unhandled.retain(|entry| has_id(entry.number));
                unhandled
            }
            false => {
                let deliveries = rows.deliveries.iter().filter(|(_, row)| has_id(row.event));
                deliveries.map(|(number, _)| rows.listed(*number)).collect()
            }
        };
        listed.retain(|entry| matches_filter(filter, entry, now));
        listed.sort_by_key(|listed| -listed.number);
        listed.truncate(filter.limit);
        listed
    }
}

impl Rows {
    fn status(&self, now: SystemTime) -> InboxStatus {
        let count = |handler: &Arc<str>, state: DeliveryState| {
            let matching = || {
                self.deliveries.values().filter(|row| row.handler == *handler && row.state == state)
            };
            let stored = matching().map(|row| self.events[&row.event].summary.stored_at).min();
            let oldest = stored.map(|stored| now.duration_since(stored).unwrap_or_default());
            BacklogCount { number: matching().count() as u64, oldest }
        };
        let due = |handler: &Arc<str>| {
            let is_due = |number: &&i64| {
                self.deliveries[*number].handler == *handler && self.is_due(**number, now)
            };
            self.deliveries.keys().filter(is_due).count() as u64
        };
        let is_finished = |row: &&Row| !row.is_open() && row.state != DeliveryState::Dead;
        InboxStatus {
            events: self.events.len() as u64,
            unhandled: self.unhandled().len() as u64,
            finished: self.deliveries.values().filter(is_finished).count() as u64,
            handlers: self
                .handlers
                .keys()
                .map(|handler| HandlerStatus {
                    handler: handler.clone(),
                    waiting: count(handler, DeliveryState::Waiting),
                    running: count(handler, DeliveryState::Running),
                    dead: count(handler, DeliveryState::Dead),
                    due: due(handler),
                    oldest_due: self.oldest_due(handler, now),
                })
                .collect(),
            workers: Some(self.workers(now)),
            paused: self.paused.values().cloned().collect(),
        }
    }

    /// Returns the events for which no generation has a delivery.
    fn unhandled(&self) -> Vec<ListEntry> {
        let handled: BTreeSet<i64> = self.deliveries.values().map(|row| row.event).collect();
        let is_handled = |number: &i64| {
            handled.contains(number)
                || self.generations(*number).iter().any(|other| handled.contains(other))
        };
        let unhandled = self.events.iter().filter(|(number, _)| !is_handled(number));
        unhandled
            .map(|(number, row)| ListEntry {
                number: *number,
                event: row.summary.clone(),
                delivery: None,
            })
            .collect()
    }

    fn listed(&self, number: i64) -> ListEntry {
        let event = self.events[&self.deliveries[&number].event].summary.clone();
        ListEntry { number, event, delivery: Some(self.delivery(number)) }
    }

    fn delivery(&self, number: i64) -> DeliverySummary {
        let row = &self.deliveries[&number];
        DeliverySummary {
            handler: row.handler.clone(),
            state: row.state,
            attempts: row.attempts,
            due: row.is_open().then_some(row.due),
            is_blocked: row.state == DeliveryState::Waiting && !self.is_unblocked(number),
            ended_at: row.ended_at,
            error: row.error.clone(),
            history: row.latest_attempts(),
        }
    }

    fn selected(&self, number: i64) -> SelectedDelivery {
        let row = &self.deliveries[&number];
        let event = self.events[&row.event].summary.clone();
        SelectedDelivery {
            token: row.token,
            account: event.account,
            generation: event.generation,
            state: row.state,
            attempts: row.attempts,
            ..SelectedDelivery::new(number, &event.id, &event.endpoint, row.handler.clone())
        }
    }

    /// Returns the numbers of all generations of an event, the first one first.
    pub(super) fn generations(&self, event: i64) -> Vec<i64> {
        let Some(EventRow { key, .. }) = self.events.get(&event) else { return Vec::new() };
        let is_generation = |row: &EventRow| row.key.is_same_event(key);
        self.events
            .iter()
            .filter(|(_, row)| is_generation(row))
            .map(|(number, _)| *number)
            .collect()
    }

    /// Returns the numbers of all generations of the events that were received with this id.
    pub(super) fn with_id(&self, event_id: &str) -> BTreeSet<i64> {
        let events = self.events.iter().filter(|(_, row)| row.has_id(event_id));
        events.flat_map(|(number, _)| self.generations(*number)).collect()
    }

    /// Returns whether no later generation of the event has a delivery for the same handler.
    fn is_latest(&self, number: i64) -> bool {
        let row = &self.deliveries[&number];
        let later = |other: &Row| other.event > row.event && other.handler == row.handler;
        let generations = self.generations(row.event);
        !self.deliveries.values().any(|other| later(other) && generations.contains(&other.event))
    }

    fn change(
        &mut self,
        selected: &SelectedDelivery,
        change: Change,
        now: SystemTime,
    ) -> ChangeOutcome {
        let Some(row) = self.deliveries.get(&selected.number) else {
            return ChangeOutcome::NotFound;
        };
        let is_leased = row.state == DeliveryState::Running && row.due > now;
        let is_superseded = !self.is_latest(selected.number);
        let (state, token) = (row.state, row.token);
        let is_erased = self.events[&row.event].is_erased();
        let current = CurrentDelivery { state, token, is_leased, is_superseded, is_erased };
        let outcome = change.outcome(selected, current);
        let row = self.deliveries.get_mut(&selected.number).expect("delivery exists");
        match change {
            _ if outcome != ChangeOutcome::Applied => {}
            Change::Retry => {
                row.abandon_attempt(now);
                if row.is_open() {
                    row.due = row.due.min(now);
                } else {
                    (row.due, row.attempts, row.delayed) = (now, 0, Duration::ZERO);
                }
                (row.state, row.ended_at) = (DeliveryState::Waiting, None);
            }
            Change::Discard => {
                row.abandon_attempt(now);
                (row.state, row.ended_at) = (DeliveryState::Discarded, Some(now));
            }
        }
        outcome
    }

    fn replay(&mut self, number: i64, handlers: &[Arc<str>], now: SystemTime) -> ReplayResult {
        let generations = self.generations(number);
        let Some(last) = generations.last() else { return ReplayResult::NotFound };
        let mut stored = self.events[last].stored.clone();
        let event_id = self.events[last].summary.id.clone();
        if self.events[last].is_erased() {
            return ReplayResult::Erased { event_id };
        }
        let first = stored.clone();
        stored.generation += 1;
        let generation = stored.generation;
        let Ok(event) = Event::from_store(stored) else {
            return ReplayResult::Damaged { event_id };
        };
        let latest = self.deliveries.values().filter(|row| row.event == *last);
        let handlers: BTreeSet<Arc<str>> = match handlers {
            [] => latest.map(|row| row.handler.clone()).collect(),
            given => given.iter().cloned().collect(),
        };
        if handlers.is_empty() {
            return ReplayResult::NoHandler { event_id };
        }
        for row in self.deliveries.values_mut() {
            let is_replayed = generations.contains(&row.event) && handlers.contains(&row.handler);
            if is_replayed && row.state == DeliveryState::Dead {
                (row.state, row.ended_at) = (DeliveryState::Discarded, Some(now));
            }
        }
        // The handlers' latest deliveries, before the new generation adds another.
        let latest: Vec<_> = handlers
            .iter()
            .map(|handler| {
                let order = self.handlers.get(handler).copied().flatten();
                let delivery = NewDelivery { handler: handler.clone(), formerly: None, order };
                let latest = self.latest_delivery(number, &delivery);
                (delivery, latest.map(|latest| self.deliveries[&latest].received.clone()))
            })
            .collect();
        self.store(&NewEvent::new(event, Vec::new()), now);
        let number = self.last;
        for (delivery, received) in latest {
            let received = received.unwrap_or_else(|| first.clone());
            let received = StoredEvent { generation, ..received };
            self.add_delivery(number, received, &delivery, now);
        }
        ReplayResult::Replayed { event_id, generation, handlers: handlers.into_iter().collect() }
    }

    fn purge(&mut self, number: i64, before: SystemTime) -> bool {
        let generations = self.generations(number);
        let is_needed = |row: &Row| {
            row.ended_at.is_none_or(|ended| ended > before) || row.state == DeliveryState::Dead
        };
        let is_retained =
            self.deliveries.values().any(|row| generations.contains(&row.event) && is_needed(row))
                || generations.iter().any(|number| self.events[number].summary.stored_at > before);
        if is_retained || generations.is_empty() {
            return false;
        }
        self.deliveries.retain(|_, row| !generations.contains(&row.event));
        self.events.retain(|number, _| !generations.contains(number));
        true
    }
}

/// Returns whether an entry matches the filter, apart from the event's id.
fn matches_filter(filter: &ListFilter, entry: &ListEntry, now: SystemTime) -> bool {
    let ListFilter {
        states,
        unhandled: _,
        event_id: _,
        event_type,
        object,
        handler,
        error,
        max_age,
        min_ended_age,
        before,
        limit: _,
    } = filter;
    let ListEntry { number, event, delivery } = entry;
    let is_matching_delivery = delivery.as_ref().is_none_or(|delivery| {
        (states.is_empty() || states.contains(&delivery.state))
            && handler.as_ref().is_none_or(|handler| **handler == *delivery.handler)
            && error.as_ref().is_none_or(|text| {
                delivery.error.as_ref().is_some_and(|error| error.contains(text))
            })
            && min_ended_age.is_none_or(|age| {
                delivery.ended_at.is_some_and(|ended_at| ended_at <= ago(now, age))
            })
    });
    is_matching_delivery
        && before.is_none_or(|before| *number < before)
        && object.as_ref().is_none_or(|object| *object == event.object)
        && is_of_type(event_type.as_deref(), &event.event_type)
        && max_age.is_none_or(|age| event.stored_at >= ago(now, age))
}

fn is_of_type(pattern: Option<&str>, event_type: &str) -> bool {
    pattern.is_none_or(|pattern| Pattern::parse_unchecked(pattern).matches(event_type))
}

fn ago(now: SystemTime, time: Duration) -> SystemTime {
    now.checked_sub(time).unwrap_or(UNIX_EPOCH)
}
