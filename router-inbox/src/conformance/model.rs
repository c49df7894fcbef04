//! The simplest thing that keeps the promises of a store: lists in memory, searched from one end to the other.

mod operations;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use router_core::{
    DeliveringService, Event, ProvidedType,
    clock::Clock,
    event::{EventKey, StoredEvent},
};

use crate::{
    Backlog, Claim, ClaimRequest, Completed, DeliveryOutcome, DeliveryState, Lease, NewDelivery,
    NewEvent, Operations, OrderKey, Store, StoreError, Stored, StoredDelivery,
};

/// A store that keeps everything in memory and loses it with the process: what other stores are compared with,
/// and one for the tests of an application.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    rows: Mutex<Rows>,
}

/// By number, which is greater for what came later.
#[derive(Default)]
struct Rows {
    events: BTreeMap<i64, EventRow>,
    deliveries: BTreeMap<i64, Row>,
    /// Each that has had a delivery, and whether its last one was ordered.
    handlers: BTreeMap<Arc<str>, bool>,
    /// The last number that was given.
    last: i64,
}

struct EventRow {
    key: EventKey,
    kept: StoredEvent,
    stored_at: SystemTime,
}

/// A delivery.
struct Row {
    event: i64,
    handler: Arc<str>,
    /// Of one that is ordered.
    place: Option<OrderKey>,
    state: DeliveryState,
    attempts: u32,
    /// Of one that waits: from when on it can be claimed. Of one that runs: until when the lease lasts.
    due: SystemTime,
    token: i64,
    error: Option<String>,
    ended_at: Option<SystemTime>,
}

impl MemoryStore {
    /// An empty store, whose time is this clock's.
    pub fn new(clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), rows: Mutex::default() }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeliveringService for MemoryStore {
    fn provides(&self) -> Vec<ProvidedType> {
        Vec::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let (mut rows, now) = (self.rows(), self.clock.wall());
        Ok(events.iter().map(|new| rows.store(new, now)).collect())
    }

    async fn claim(&self, wanted: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        Ok(self.rows().claim(wanted, self.clock.wall()))
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
        ends: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<Completed>, StoreError> {
        let (mut rows, now) = (self.rows(), self.clock.wall());
        let completed = ends.iter().map(|(lease, end)| match rows.held(lease) {
            Some(row) => {
                row.end(end, now);
                Completed::Recorded
            }
            None => Completed::LeaseLost,
        });
        Ok(completed.collect())
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        let rows = self.rows();
        Ok(rows.of_event(event_id).into_iter().map(|number| rows.kept(number)).collect())
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
        if self.events.values().any(|there| there.key == key) {
            return Stored::Duplicate;
        }
        let number = self.next();
        let row = EventRow { key, kept: StoredEvent::of(event), stored_at: now };
        self.events.insert(number, row);
        for NewDelivery { handler, ordered } in deliveries {
            let row = Row {
                event: number,
                handler: handler.clone(),
                place: ordered.then(|| OrderKey::of(event)),
                state: DeliveryState::Waiting,
                attempts: 0,
                due: now,
                token: 0,
                error: None,
                ended_at: None,
            };
            let number = self.next();
            self.deliveries.insert(number, row);
            self.handlers.insert(handler.clone(), *ordered);
        }
        Stored::New
    }

    fn next(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    /// The deliveries of an event, by endpoint, account, generation and handler.
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

    fn kept(&self, number: i64) -> StoredDelivery {
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

    fn claim(&mut self, wanted: &ClaimRequest, now: SystemTime) -> Vec<Claim> {
        let mut room: Vec<_> = wanted.handlers.clone();
        let mut due: Vec<i64> =
            self.deliveries.keys().copied().filter(|number| self.is_due(*number, now)).collect();
        due.sort_by_key(|number| (self.deliveries[number].due, *number));
        let mut claims = Vec::new();
        for number in due {
            let handler = self.deliveries[&number].handler.clone();
            let room = room.iter_mut().find(|(name, room)| *name == handler && *room > 0);
            // Of one object, one that was claimed just now is in the way of the next.
            if claims.len() < wanted.limit
                && let Some((_, room)) = room
                && self.is_its_turn(number)
            {
                *room -= 1;
                claims.push(self.lease(number, now + wanted.lease));
            }
        }
        claims
    }

    fn is_due(&self, number: i64, now: SystemTime) -> bool {
        let row = &self.deliveries[&number];
        row.is_open() && row.due <= now && self.is_its_turn(number)
    }

    /// Whether no other delivery of its handler and object comes before it.
    fn is_its_turn(&self, number: i64) -> bool {
        let row = &self.deliveries[&number];
        let Some(place) = &row.place else { return true };
        // It is the one that is out.
        if row.state == DeliveryState::Running {
            return true;
        }
        let mut others = self.deliveries.iter().filter(|(other, theirs)| {
            **other != number && theirs.is_open() && theirs.handler == row.handler
        });
        !others.any(|(other, theirs)| {
            theirs.place.as_ref().is_some_and(|their_place| {
                let is_out = theirs.state == DeliveryState::Running;
                let is_older = (their_place.age, *other) < (place.age, number);
                their_place.object == place.object && (is_out || is_older)
            })
        })
    }

    fn lease(&mut self, number: i64, until: SystemTime) -> Claim {
        let row = self.deliveries.get_mut(&number).expect("it is there");
        let lease_expired = row.state == DeliveryState::Running;
        if !lease_expired {
            row.attempts += 1;
        }
        (row.state, row.due, row.token) = (DeliveryState::Running, until, row.token + 1);
        let kept = &self.events[&row.event].kept;
        Claim {
            lease: Lease { delivery: number, handler: row.handler.clone(), token: row.token },
            event: Event::from_store(kept.clone()),
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

    fn end(&mut self, end: &DeliveryOutcome, now: SystemTime) {
        self.due = now;
        match end {
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
