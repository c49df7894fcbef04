//! The reference implementation of a store: maps in memory, searched linearly.

mod operations;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use router_core::{
    DeliveryService, Event, ProvidedType,
    clock::Clock,
    event::{EventKey, StoredEvent},
};

use crate::{
    Backlog, Claim, ClaimRequest, CompleteResult, DeliveryOutcome, DeliveryState, Lease,
    NewDelivery, NewEvent, Operations, OrderKey, Store, StoreError, Stored, StoredDelivery,
};

/// A store in memory, without persistence.
///
/// It is the model that other stores are compared with, and a store for an application's tests.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    rows: Mutex<Rows>,
}

/// The contents of the store. Keys are numbers, greater for later entries.
#[derive(Default)]
struct Rows {
    events: BTreeMap<i64, EventRow>,
    deliveries: BTreeMap<i64, Row>,
    /// Every handler that has ever had a delivery, with `true` if its latest one was ordered.
    handlers: BTreeMap<Arc<str>, bool>,
    /// The number assigned last.
    last: i64,
}

struct EventRow {
    key: EventKey,
    stored: StoredEvent,
    stored_at: SystemTime,
}

/// A delivery.
struct Row {
    event: i64,
    handler: Arc<str>,
    /// The position in the lane, if the delivery is ordered.
    order_key: Option<OrderKey>,
    state: DeliveryState,
    attempts: u32,
    /// If waiting, the time from which the delivery can be claimed. If running, the time at which
    /// its lease expires.
    due: SystemTime,
    token: i64,
    error: Option<String>,
    ended_at: Option<SystemTime>,
}

impl MemoryStore {
    /// Creates an empty store that uses this clock.
    pub fn new(clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), rows: Mutex::default() }
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
        let (mut rows, now) = (self.rows(), self.clock.wall());
        Ok(events.iter().map(|event| rows.store(event, now)).collect())
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        Ok(self.rows().claim(request, self.clock.wall()))
    }

    async fn extend(&self, leases: &[Lease], time: Duration) -> Result<Vec<bool>, StoreError> {
        let (mut rows, now) = (self.rows(), self.clock.wall());
        let extended = leases.iter().map(|lease| {
            let held = rows.held(lease);
            let is_held = held.is_some();
            if let Some(row) = held {
                row.due = now + time;
            }
            is_held
        });
        Ok(extended.collect())
    }

    async fn complete(
        &self,
        outcomes: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<CompleteResult>, StoreError> {
        let (mut rows, now) = (self.rows(), self.clock.wall());
        let completed = outcomes.iter().map(|(lease, outcome)| match rows.held(lease) {
            Some(row) => {
                row.finish_attempt(outcome, now);
                CompleteResult::Recorded
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
        let (rows, now) = (self.rows(), self.clock.wall());
        let mut backlog = BTreeMap::new();
        for row in rows.deliveries.values().filter(|row| row.is_open()) {
            let handler = row.handler.clone();
            let empty = Backlog { handler, waiting: 0, running: 0, oldest: Duration::ZERO };
            let of_handler = backlog.entry(row.handler.clone()).or_insert(empty);
            match row.state {
                DeliveryState::Running => of_handler.running += 1,
                _ => of_handler.waiting += 1,
            }
            let age = now.duration_since(rows.events[&row.event].stored_at).unwrap_or_default();
            of_handler.oldest = of_handler.oldest.max(age);
        }
        Ok(backlog.into_values().collect())
    }
}

impl Rows {
    fn store(&mut self, NewEvent { event, deliveries }: &NewEvent, now: SystemTime) -> Stored {
        let key = event.key();
        if self.events.values().any(|row| row.key == key) {
            return Stored::Duplicate;
        }
        let event_number = self.next_number();
        let row = EventRow { key, stored: StoredEvent::from_event(event), stored_at: now };
        self.events.insert(event_number, row);
        for NewDelivery { handler, ordered } in deliveries {
            let row = Row {
                event: event_number,
                handler: handler.clone(),
                order_key: ordered.then(|| OrderKey::from_event(event)),
                state: DeliveryState::Waiting,
                attempts: 0,
                due: now,
                token: 0,
                error: None,
                ended_at: None,
            };
            let number = self.next_number();
            self.deliveries.insert(number, row);
            self.handlers.insert(handler.clone(), *ordered);
        }
        Stored::New
    }

    fn next_number(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    /// Returns the numbers of an event's deliveries, sorted by endpoint, account, generation and
    /// handler.
    fn of_event(&self, event_id: &str) -> Vec<i64> {
        let key = |number: &i64| &self.events[&self.deliveries[number].event].key;
        let mut numbers: Vec<_> =
            self.deliveries.keys().copied().filter(|number| key(number).id() == event_id).collect();
        numbers.sort_by_key(|number| {
            let (key, handler) = (key(number), &self.deliveries[number].handler);
            (key.endpoint(), key.account(), key.generation(), handler)
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

    fn claim(&mut self, request: &ClaimRequest, now: SystemTime) -> Vec<Claim> {
        let mut remaining: Vec<_> = request.handlers.clone();
        let mut due: Vec<i64> =
            self.deliveries.keys().copied().filter(|number| self.is_due(*number, now)).collect();
        due.sort_by_key(|number| (self.deliveries[number].due, *number));
        let mut claims = Vec::new();
        for number in due {
            let handler = self.deliveries[&number].handler.clone();
            let slots = remaining.iter_mut().find(|(name, slots)| *name == handler && *slots > 0);
            // Checked again, because a delivery of the same lane may just have been claimed.
            if claims.len() < request.limit
                && let Some((_, slots)) = slots
                && self.is_unblocked(number)
            {
                *slots -= 1;
                claims.push(self.lease(number, now + request.lease));
            }
        }
        claims
    }

    fn is_due(&self, number: i64, now: SystemTime) -> bool {
        let row = &self.deliveries[&number];
        row.is_open() && row.due <= now && self.is_unblocked(number)
    }

    /// Returns whether no other delivery of its lane blocks this one.
    fn is_unblocked(&self, number: i64) -> bool {
        let row = &self.deliveries[&number];
        let Some(order_key) = &row.order_key else { return true };
        // A running delivery is the one that blocks its lane.
        if row.state == DeliveryState::Running {
            return true;
        }
        let mut others = self.deliveries.iter().filter(|(other_number, other)| {
            **other_number != number && other.is_open() && other.handler == row.handler
        });
        !others.any(|(other_number, other)| {
            other.order_key.as_ref().is_some_and(|other_key| {
                let is_running = other.state == DeliveryState::Running;
                let is_older = (other_key.sort_key, *other_number) < (order_key.sort_key, number);
                other_key.object == order_key.object && (is_running || is_older)
            })
        })
    }

    fn lease(&mut self, number: i64, until: SystemTime) -> Claim {
        let row = self.deliveries.get_mut(&number).expect("delivery exists");
        let lease_expired = row.state == DeliveryState::Running;
        if !lease_expired {
            row.attempts += 1;
        }
        (row.state, row.due, row.token) = (DeliveryState::Running, until, row.token + 1);
        let stored = &self.events[&row.event].stored;
        Claim {
            lease: Lease { delivery: number, handler: row.handler.clone(), token: row.token },
            event: Event::from_store(stored.clone()),
            attempt: row.attempts,
            lease_expired,
        }
    }

    fn held(&mut self, lease: &Lease) -> Option<&mut Row> {
        let row = self.deliveries.get_mut(&lease.delivery)?;
        (row.state == DeliveryState::Running && row.token == lease.token).then_some(row)
    }
}

impl Row {
    fn is_open(&self) -> bool {
        matches!(self.state, DeliveryState::Waiting | DeliveryState::Running)
    }

    fn finish_attempt(&mut self, outcome: &DeliveryOutcome, now: SystemTime) {
        self.due = now;
        match outcome {
            DeliveryOutcome::Done => self.state = DeliveryState::Done,
            DeliveryOutcome::Ignored => self.state = DeliveryState::Ignored,
            DeliveryOutcome::Retry { wait, error } => {
                self.state = DeliveryState::Waiting;
                self.due = now + *wait;
                self.error = Some(error.clone());
            }
            DeliveryOutcome::Dead { error } => {
                self.state = DeliveryState::Dead;
                self.error = Some(error.clone());
            }
            DeliveryOutcome::Released => {
                self.state = DeliveryState::Waiting;
                self.attempts = self.attempts.saturating_sub(1);
            }
        }
        self.ended_at = (!self.is_open()).then_some(now);
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}
