//! The reference implementation of a store: maps in memory, searched linearly.

mod claims;
mod erase;
mod event_row;
mod history;
mod operations;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use router_core::{
    Event,
    clock::Clock,
    delivery::{DeliveryOrder, DeliveryService, ProvidedType},
    event::StoredEvent,
};

use self::event_row::EventRow;
use crate::{
    Store, StoreError,
    operations::{AttemptSummary, EventSummary},
    store::{
        Backlog, Claim, ClaimRequest, CompleteResult, DeliveryOutcome, DeliveryState, Lease,
        MAX_DURATION, NewDelivery, NewEvent, Operations, OrderKey, PausedHandler, Redelivery,
        Stored, StoredDelivery, WorkerInfo, newest_recency, number::delivery_number,
        out_of_order_position,
    },
};

/// A store in memory, without persistence.
///
/// It is the model that other stores are compared with, and a store for an application's tests.
///
/// Cloning is cheap; clones share the data.
#[derive(Clone)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    /// The times at which the store was created.
    created: (SystemTime, Instant),
    rows: Arc<Mutex<Rows>>,
}

/// The contents of the store. Keys are numbers, greater for later events and their deliveries.
#[derive(Default)]
struct Rows {
    events: BTreeMap<i64, EventRow>,
    deliveries: BTreeMap<i64, Row>,
    /// Every handler that has ever had a delivery, with the order of its latest one.
    handlers: BTreeMap<Arc<str>, Option<DeliveryOrder>>,
    /// The highest recency of the deliveries that are done, by handler and object.
    newest_done: BTreeMap<(Arc<str>, String), i64>,
    /// The workers by name, each with the time at which its record expires.
    workers: BTreeMap<Arc<str>, (WorkerInfo, SystemTime)>,
    /// The paused handlers by name.
    paused: BTreeMap<Arc<str>, PausedHandler>,
    /// The values of the checkpoints by name.
    checkpoints: BTreeMap<String, String>,
    /// The number of the event stored last.
    last: i64,
}

/// A delivery.
struct Row {
    event: i64,
    /// The event as it is delivered.
    received: StoredEvent,
    /// The event as redelivered while the delivery was unfinished, to be delivered if it dies.
    received_since: Option<StoredEvent>,
    handler: Arc<str>,
    /// The lane's object and the position in the lane, if the delivery is ordered.
    lane: Option<(String, i64)>,
    state: DeliveryState,
    attempts: u32,
    /// If waiting, the time from which the delivery can be claimed. If running, the time at which
    /// its lease expires.
    due: SystemTime,
    token: i64,
    /// The total of the waits for which the handler has asked to run later.
    delayed: Duration,
    error: Option<String>,
    ended_at: Option<SystemTime>,
    /// The attempts that have ended, the oldest first, and then the running one.
    history: Vec<AttemptSummary>,
}

impl MemoryStore {
    /// Creates an empty store that uses this clock.
    pub fn new(clock: impl Clock) -> Self {
        let created = (clock.wall(), clock.monotonic());
        Self { clock: Arc::new(clock), created, rows: Arc::default() }
    }

    /// Returns the current time. It is monotonic: a change of the time of day has no effect.
    fn now(&self) -> SystemTime {
        let (wall, instant) = self.created;
        wall + self.clock.monotonic().saturating_duration_since(instant)
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeliveryService for MemoryStore {
    fn provides(&self) -> Vec<ProvidedType> {
        Vec::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let (mut rows, now) = (self.rows(), self.now());
        Ok(events.iter().map(|event| rows.store(event, now)).collect())
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        Ok(self.rows().claim(request, self.now()))
    }

    async fn extend(&self, leases: &[Lease], time: Duration) -> Result<Vec<bool>, StoreError> {
        let (mut rows, now) = (self.rows(), self.now());
        let extended = leases.iter().map(|lease| {
            let held = rows.held(lease);
            let is_held = held.is_some();
            if let Some(row) = held {
                row.due = time_after(now, time);
            }
            is_held
        });
        Ok(extended.collect())
    }

    async fn complete(
        &self,
        outcomes: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<CompleteResult>, StoreError> {
        let (mut rows, now) = (self.rows(), self.now());
        let completed = outcomes.iter().map(|(lease, outcome)| match rows.held(lease) {
            Some(row) => {
                let result = row.finish_attempt(outcome, now);
                rows.remember_done(lease.delivery);
                result
            }
            None => CompleteResult::LeaseLost,
        });
        Ok(completed.collect())
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        let rows = self.rows();
        Ok(rows.of_event(event_id).into_iter().map(|number| rows.stored_delivery(number)).collect())
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let (rows, now) = (self.rows(), self.now());
        let mut backlog = BTreeMap::new();
        for row in rows.deliveries.values().filter(|row| row.is_open()) {
            let handler = row.handler.clone();
            let of_handler =
                backlog.entry(handler.clone()).or_insert_with(|| Backlog::new(handler));
            match row.state {
                DeliveryState::Running => of_handler.running += 1,
                _ => of_handler.waiting += 1,
            }
            let age =
                now.duration_since(rows.events[&row.event].summary.stored_at).unwrap_or_default();
            of_handler.oldest = of_handler.oldest.max(age);
        }
        for (handler, entry) in &mut backlog {
            entry.oldest_due = rows.oldest_due(handler, now);
        }
        Ok(backlog.into_values().collect())
    }

    async fn report_worker(&self, worker: &WorkerInfo, ttl: Duration) -> Result<(), StoreError> {
        let (mut rows, now) = (self.rows(), self.now());
        rows.workers.insert(worker.name.clone(), (worker.clone(), time_after(now, ttl)));
        rows.workers.retain(|_, (_, expires)| *expires > now);
        Ok(())
    }

    async fn workers(&self) -> Result<Option<Vec<WorkerInfo>>, StoreError> {
        Ok(Some(self.rows().workers(self.now())))
    }

    async fn paused_handlers(&self) -> Result<Vec<PausedHandler>, StoreError> {
        Ok(self.rows().paused.values().cloned().collect())
    }
}

impl Rows {
    fn workers(&self, now: SystemTime) -> Vec<WorkerInfo> {
        let running = self.workers.values().filter(|(_, expires)| *expires > now);
        running.map(|(worker, _)| worker.clone()).collect()
    }

    fn store(&mut self, new: &NewEvent, now: SystemTime) -> Stored {
        let NewEvent { event, deliveries, trace_parent } = new;
        let (key, received) = (event.key(), StoredEvent::from_event(event));
        if let Some((number, _)) = self.events.iter().find(|(_, row)| row.key == key) {
            return self.store_again(*number, event, deliveries, now);
        }
        self.last += 1;
        let event_number = self.last;
        let row = EventRow {
            key,
            summary: EventSummary::new(event, now),
            ids: vec![event.id().to_owned()],
            stored: received.clone(),
            redelivered: Vec::new(),
            trace_parent: trace_parent.clone(),
        };
        self.events.insert(event_number, row);
        for delivery in deliveries {
            self.add_delivery(event_number, received.clone(), delivery, now);
        }
        Stored::New
    }

    /// Stores a redelivered event.
    fn store_again(
        &mut self,
        event_number: i64,
        event: &Event,
        deliveries: &[NewDelivery],
        now: SystemTime,
    ) -> Stored {
        let received = StoredEvent::from_event(event);
        let mut is_needed = false;
        let results = deliveries.iter().map(|delivery| {
            let Some(latest) = self.latest_delivery(event_number, delivery) else {
                if self.events[&event_number].is_erased() {
                    return Redelivery::Erased;
                }
                self.add_delivery(event_number, received.clone(), delivery, now);
                return Redelivery::Added;
            };
            let generation = self.events[&self.deliveries[&latest].event].key.generation();
            let row = self.deliveries.get_mut(&latest).expect("delivery exists");
            let received = StoredEvent { generation, ..received.clone() };
            if row.is_open() {
                if !restored(&row.received).has_same_form(event) {
                    row.received_since = Some(received);
                    is_needed = true;
                }
            } else if row.state == DeliveryState::Dead {
                row.restart(received, now);
                return Redelivery::Restarted;
            }
            Redelivery::Unchanged(row.state)
        });
        let stored = Stored::Redelivered(results.collect());
        let row = self.events.get_mut(&event_number).expect("event exists");
        is_needed |= !stored.is_duplicate() || !row.has_id(event.id());
        if is_needed && !row.is_erased() {
            row.ids.push(event.id().to_owned());
            row.redelivered.push(received);
        }
        stored
    }

    /// Returns the handler's delivery of the event in the latest generation that has one.
    fn latest_delivery(&self, event: i64, delivery: &NewDelivery) -> Option<i64> {
        let generations = self.generations(event);
        let is_of_handler = |row: &Row| {
            row.handler == delivery.handler || Some(&row.handler) == delivery.formerly.as_ref()
        };
        let deliveries = self
            .deliveries
            .iter()
            .filter(|(_, row)| generations.contains(&row.event) && is_of_handler(row));
        let generation = |row: &Row| self.events[&row.event].key.generation();
        deliveries
            .max_by_key(|(number, row)| (generation(row), **number))
            .map(|(number, _)| *number)
    }

    fn add_delivery(
        &mut self,
        event_number: i64,
        received: StoredEvent,
        NewDelivery { handler, order, .. }: &NewDelivery,
        now: SystemTime,
    ) {
        // A redelivered event has the position of the event as it was first received.
        let order_key = OrderKey::from_event(&restored(&self.events[&event_number].stored));
        let row = Row {
            event: event_number,
            received,
            received_since: None,
            handler: handler.clone(),
            lane: order.map(|order| (order_key.object.clone(), order_key.position(order))),
            state: DeliveryState::Waiting,
            attempts: 0,
            due: now,
            token: 0,
            delayed: Duration::ZERO,
            error: None,
            ended_at: None,
            history: Vec::new(),
        };
        let index = self.deliveries.values().filter(|row| row.event == event_number).count();
        self.deliveries.insert(delivery_number(event_number, index), row);
        self.handlers.insert(handler.clone(), *order);
    }

    /// Remembers the recency of a delivery for [`Rows::is_outdated`] if the delivery is done.
    fn remember_done(&mut self, number: i64) {
        let row = &self.deliveries[&number];
        if let (DeliveryState::Done, Some((object, recency))) = (row.state, row.newest_only()) {
            let newest = self.newest_done.entry((row.handler.clone(), object)).or_insert(recency);
            *newest = recency.max(*newest);
        }
    }

    /// Returns whether the delivery is for the newest event of its object only, and the handler has
    /// done a newer one.
    fn is_outdated(&self, row: &Row) -> bool {
        row.newest_only().is_some_and(|(object, recency)| {
            let newest = self.newest_done.get(&(row.handler.clone(), object));
            newest.is_some_and(|newest| *newest > recency)
        })
    }

    /// Returns the numbers of an event's deliveries, sorted by endpoint, account, generation,
    /// handler and number.
    fn of_event(&self, event_id: &str) -> Vec<i64> {
        let key = |number: &i64| &self.events[&self.deliveries[number].event].key;
        let events = self.with_id(event_id);
        let of_event = self.deliveries.iter().filter(|(_, row)| events.contains(&row.event));
        let mut numbers: Vec<_> = of_event.map(|(number, _)| *number).collect();
        numbers.sort_by_key(|number| {
            let (key, handler) = (key(number), &self.deliveries[number].handler);
            (key.endpoint(), key.account(), key.generation(), handler, *number)
        });
        numbers
    }

    fn stored_delivery(&self, number: i64) -> StoredDelivery {
        let row = &self.deliveries[&number];
        let key = &self.events[&row.event].key;
        StoredDelivery {
            endpoint: key.endpoint().to_owned(),
            account: key.account().map(str::to_owned),
            generation: key.generation(),
            handler: row.handler.clone(),
            state: row.state,
            attempts: row.attempts,
            error: row.error.clone(),
        }
    }
}

/// Returns the point in time after this duration, or after [`MAX_DURATION`] if that is shorter.
fn time_after(now: SystemTime, duration: Duration) -> SystemTime {
    now + duration.min(MAX_DURATION)
}

fn restored(stored: &StoredEvent) -> Event {
    Event::from_store(stored.clone()).expect("event is valid")
}

impl Row {
    /// Returns the object and the recency of a delivery for the newest event of an object only.
    fn newest_only(&self) -> Option<(String, i64)> {
        let (object, position) = self.lane.clone()?;
        Some((object, newest_recency(position)?))
    }

    fn is_open(&self) -> bool {
        matches!(self.state, DeliveryState::Waiting | DeliveryState::Running)
    }

    fn finish_attempt(&mut self, outcome: &DeliveryOutcome, now: SystemTime) -> CompleteResult {
        self.due = now;
        self.record_attempt(outcome, now);
        match outcome {
            DeliveryOutcome::Done => self.state = DeliveryState::Done,
            DeliveryOutcome::Ignored => self.state = DeliveryState::Ignored,
            DeliveryOutcome::Retry { wait, error } => {
                self.state = DeliveryState::Waiting;
                self.due = time_after(now, *wait);
                self.error = Some(error.clone());
            }
            DeliveryOutcome::Dead { error } => {
                self.state = DeliveryState::Dead;
                self.error = Some(error.clone());
                if let Some(received) = self.received_since.take() {
                    self.restart(received, now);
                    return CompleteResult::Restarted;
                }
            }
            DeliveryOutcome::Released { wait } => {
                self.state = DeliveryState::Waiting;
                self.due = time_after(now, *wait);
                self.attempts = self.attempts.saturating_sub(1);
            }
            DeliveryOutcome::Later { wait, reason, out_of_order } => {
                self.state = DeliveryState::Waiting;
                self.due = time_after(now, *wait);
                self.attempts = self.attempts.saturating_sub(1);
                self.delayed = self.delayed.saturating_add(*wait);
                if let Some((_, position)) = &mut self.lane
                    && *out_of_order
                    && *position >= 0
                {
                    *position = out_of_order_position(self.due);
                }
                self.error = reason.clone().or(self.error.take());
            }
        }
        if !self.is_open() {
            (self.delayed, self.ended_at) = (Duration::ZERO, Some(now));
        }
        CompleteResult::Recorded
    }

    /// Starts the delivery over with a redelivered event.
    fn restart(&mut self, received: StoredEvent, now: SystemTime) {
        self.received = received;
        (self.state, self.attempts) = (DeliveryState::Waiting, 0);
        (self.due, self.delayed, self.ended_at) = (now, Duration::ZERO, None);
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}
