//! The document: events and deliveries, searched linearly.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use router_core::{
    Event,
    event::{EnvelopeError, StoredEvent},
};
use router_inbox::store::{
    Backlog, Claim, ClaimRequest, CompleteResult, DeliveryOutcome, DeliveryState, Lease,
    NewDelivery, NewEvent, OrderKey, Redelivery, Stored, StoredDelivery, TraceParent,
    newest_recency, out_of_order_position,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct State {
    events: Vec<EventRow>,
    deliveries: BTreeMap<i64, DeliveryRow>,
    /// A handler, an object, and the highest recency of the deliveries that are done.
    newest_done: Vec<(String, String, i64)>,
}

#[derive(Serialize, Deserialize)]
struct EventRow {
    /// The event's key without its generation.
    identity: String,
    account: Option<String>,
    /// The ids with which the event was received.
    ids: Vec<String>,
    first: Received,
    stored_at: SystemTime,
    trace_parent: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Received {
    payload: Box<RawValue>,
    endpoint: String,
    signed_at: Option<SystemTime>,
    generation: u32,
    serial: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct DeliveryRow {
    /// The index of the event.
    event: usize,
    handler: String,
    /// The event as it is delivered, if it is not the first one received.
    received: Option<Received>,
    /// The event as redelivered while the delivery was unfinished. It is delivered if the delivery
    /// becomes a dead letter.
    received_since: Option<Received>,
    /// The object and the position in the lane.
    lane: Option<(String, i64)>,
    state: i64,
    attempts: u32,
    /// The end of the lease, or the time from which the delivery can be claimed.
    due: SystemTime,
    token: i64,
    /// The total of the waits for which the handler has asked to run later.
    delayed: Duration,
    error: Option<String>,
}

/// Upper limit of the number of deliveries of one event.
const MAX_DELIVERIES: usize = 1_000;

/// Returns the point in time after this duration, or after 1000 years if it is longer.
pub(crate) fn later(now: SystemTime, duration: Duration) -> SystemTime {
    now + duration.min(Duration::from_secs(1_000 * 365 * 24 * 60 * 60))
}

impl State {
    pub(crate) fn store(&mut self, new: &NewEvent, now: SystemTime) -> Stored {
        let (event, key) = (&new.event, new.event.key());
        let parts = (key.endpoint(), key.account(), key.id(), key.event_type(), key.serial());
        let identity = format!("{parts:?}");
        let received = Received::new(event);
        let is_stored = |row: &EventRow| {
            row.identity == identity && row.first.generation == received.generation
        };
        if let Some(index) = self.events.iter().position(is_stored) {
            let row = &mut self.events[index];
            if !row.ids.iter().any(|id| id == event.id()) {
                row.ids.push(event.id().to_owned());
            }
            let redeliver = |delivery| self.redeliver(index, event, delivery, now);
            return Stored::Redelivered(new.deliveries.iter().map(redeliver).collect());
        }
        let (account, ids) = (key.account().map(str::to_owned), vec![event.id().to_owned()]);
        let first = received;
        let trace_parent = new.trace_parent.as_ref().map(|parent| parent.as_str().to_owned());
        self.events.push(EventRow { identity, account, ids, first, stored_at: now, trace_parent });
        for delivery in &new.deliveries {
            self.add(self.events.len() - 1, None, delivery, now);
        }
        Stored::New
    }

    fn redeliver(
        &mut self,
        index: usize,
        event: &Event,
        delivery: &NewDelivery,
        now: SystemTime,
    ) -> Redelivery {
        let identity = &self.events[index].identity;
        let is_latest = |(_, row): &(&i64, &DeliveryRow)| {
            let names = [Some(&delivery.handler), delivery.formerly.as_ref()];
            self.events[row.event].identity == *identity
                && names.into_iter().flatten().any(|name| **name == *row.handler)
        };
        let generation = |row: &DeliveryRow| self.events[row.event].first.generation;
        let deliveries = self.deliveries.iter().filter(is_latest);
        let latest = deliveries.max_by_key(|(number, row)| (generation(row), **number));
        let Some((number, generation)) = latest.map(|(number, row)| (*number, generation(row)))
        else {
            self.add(index, Some(Received::new(event)), delivery, now);
            return Redelivery::Added;
        };
        let row = self.deliveries.get_mut(&number).expect("delivery exists");
        let received = Received { generation, ..Received::new(event) };
        if row.state() == DeliveryState::Dead {
            row.restart(received, now);
            return Redelivery::Restarted;
        }
        let stored = row.received.as_ref().unwrap_or(&self.events[row.event].first);
        let is_same_form = stored.event().is_ok_and(|stored| stored.has_same_form(event));
        if row.is_open() && !is_same_form {
            row.received_since = Some(received);
        }
        Redelivery::Unchanged(row.state())
    }

    fn add(
        &mut self,
        event: usize,
        received: Option<Received>,
        delivery: &NewDelivery,
        now: SystemTime,
    ) {
        // A redelivered event has the position of the event as it was first received.
        let key = self.events[event].first.event().map(|event| OrderKey::from_event(&event));
        let key = key.expect("event was readable when it was stored");
        let lane = delivery.order.map(|order| (key.object.clone(), key.position(order)));
        let count = self.deliveries.values().filter(|row| row.event == event).count();
        let number = i64::try_from(event * MAX_DELIVERIES + count).expect("number is small");
        let row = DeliveryRow {
            event,
            handler: delivery.handler.to_string(),
            received,
            received_since: None,
            lane,
            state: DeliveryState::Waiting.number().into(),
            attempts: 0,
            due: now,
            token: 0,
            delayed: Duration::ZERO,
            error: None,
        };
        self.deliveries.insert(number, row);
    }

    pub(crate) fn claim(&mut self, request: &ClaimRequest, now: SystemTime) -> Vec<Claim> {
        let due = self.deliveries.iter().filter(|(number, row)| self.is_due(**number, row, now));
        let mut due: Vec<_> =
            due.map(|(number, row)| (&*row.handler, (row.due, *number))).collect();
        due.sort_unstable_by_key(|(_, delivery)| *delivery);
        let mut claimed = request.spread(due);
        claimed.sort_unstable();
        let lease = |(_, number)| self.lease(number, later(now, request.lease));
        claimed.into_iter().map(lease).collect()
    }

    fn is_due(&self, number: i64, row: &DeliveryRow, now: SystemTime) -> bool {
        row.is_open() && row.due <= now && self.is_unblocked(number, row)
    }

    /// Returns whether the delivery is the first of its lane.
    fn is_unblocked(&self, number: i64, row: &DeliveryRow) -> bool {
        let Some((object, position)) = &row.lane else { return true };
        let is_before = |(other_number, other): (&i64, &DeliveryRow)| {
            let is_running = other.state() == DeliveryState::Running;
            other.lane.as_ref().is_some_and(|(other_object, other_position)| {
                other_object == object
                    && (is_running || (other_position, *other_number) < (position, number))
            }) && other.handler == row.handler
                && other.is_open()
                && *other_number != number
        };
        row.state() == DeliveryState::Running || !self.deliveries.iter().any(is_before)
    }

    fn lease(&mut self, number: i64, until: SystemTime) -> Claim {
        let row = self.deliveries.get_mut(&number).expect("delivery exists");
        let lease_expired = row.state() == DeliveryState::Running;
        row.attempts += u32::from(!lease_expired);
        row.set_state(DeliveryState::Running);
        (row.due, row.token) = (until, row.token + 1);
        let is_newer = |object: &str, recency| {
            let newer = |done: &&(String, String, i64)| {
                done.0 == row.handler && done.1 == object && done.2 > recency
            };
            self.newest_done.iter().any(|done| newer(&done))
        };
        let outdated = row.newest_only().is_some_and(|(object, recency)| is_newer(object, recency));
        let received = row.received.as_ref().unwrap_or(&self.events[row.event].first);
        let event = received.event();
        let id = event.as_ref().map_or("damaged", Event::id);
        let lease = Lease::new(number, row.handler.as_str(), id, row.token);
        let claim = Claim::new(lease, event, row.attempts).delayed(row.delayed);
        let trace_parent = self.events[row.event].trace_parent.as_deref();
        let claim = claim.trace_parent(trace_parent.and_then(TraceParent::parse));
        claim.lease_expired(lease_expired).outdated(outdated)
    }

    fn held(&mut self, lease: &Lease) -> Option<&mut DeliveryRow> {
        let row = self.deliveries.get_mut(&lease.delivery)?;
        (row.state() == DeliveryState::Running && row.token == lease.token).then_some(row)
    }

    pub(crate) fn extend(&mut self, lease: &Lease, until: SystemTime) -> bool {
        self.held(lease).map(|row| row.due = until).is_some()
    }

    pub(crate) fn complete(
        &mut self,
        lease: &Lease,
        outcome: &DeliveryOutcome,
        now: SystemTime,
    ) -> CompleteResult {
        let Some(row) = self.held(lease) else { return CompleteResult::LeaseLost };
        row.due = now;
        match outcome {
            DeliveryOutcome::Done => {
                row.set_state(DeliveryState::Done);
                if let Some((object, recency)) = row.newest_only() {
                    let done = (row.handler.clone(), object.to_owned(), recency);
                    self.newest_done.push(done);
                }
            }
            DeliveryOutcome::Ignored => row.set_state(DeliveryState::Ignored),
            DeliveryOutcome::Retry { wait, error } => {
                row.set_state(DeliveryState::Waiting);
                (row.due, row.error) = (later(now, *wait), Some(error.clone()));
            }
            DeliveryOutcome::Released { wait } => {
                row.set_state(DeliveryState::Waiting);
                (row.due, row.attempts) = (later(now, *wait), row.attempts.saturating_sub(1));
            }
            DeliveryOutcome::Later { wait, reason, out_of_order } => {
                row.set_state(DeliveryState::Waiting);
                (row.due, row.attempts) = (later(now, *wait), row.attempts.saturating_sub(1));
                row.delayed = row.delayed.saturating_add(*wait);
                row.error = reason.clone().or(row.error.take());
                if let Some((_, position)) = &mut row.lane
                    && *out_of_order
                    && *position >= 0
                {
                    *position = out_of_order_position(row.due);
                }
            }
            DeliveryOutcome::Dead { error } => {
                row.set_state(DeliveryState::Dead);
                row.error = Some(error.clone());
                if let Some(received) = row.received_since.take() {
                    row.restart(received, now);
                    return CompleteResult::Restarted;
                }
            }
        }
        CompleteResult::Recorded
    }

    pub(crate) fn deliveries(&self, event_id: &str) -> Vec<StoredDelivery> {
        let has_id = |row: &EventRow| row.ids.iter().any(|id| id == event_id);
        let identities: Vec<_> =
            self.events.iter().filter(|row| has_id(row)).map(|row| &row.identity).collect();
        let is_of_event =
            |row: &&DeliveryRow| identities.contains(&&self.events[row.event].identity);
        let delivery = |row: &DeliveryRow| {
            let event = &self.events[row.event];
            let mut delivery =
                StoredDelivery::new(&*event.first.endpoint, &*row.handler, row.state());
            delivery.account.clone_from(&event.account);
            delivery.generation = event.first.generation;
            delivery.attempts = row.attempts;
            delivery.error.clone_from(&row.error);
            delivery
        };
        let mut deliveries: Vec<_> =
            self.deliveries.values().filter(is_of_event).map(delivery).collect();
        // The sort is stable.
        deliveries.sort_by(|a, b| {
            let key = |delivery: &StoredDelivery| {
                let StoredDelivery { endpoint, account, generation, handler, .. } =
                    delivery.clone();
                (endpoint, account, generation, handler)
            };
            key(a).cmp(&key(b))
        });
        deliveries
    }

    pub(crate) fn backlog(&self, now: SystemTime) -> Vec<Backlog> {
        let mut backlog: BTreeMap<&str, Backlog> = BTreeMap::new();
        for (number, row) in self.deliveries.iter().filter(|(_, row)| row.is_open()) {
            let name: Arc<str> = row.handler.as_str().into();
            let entry = backlog.entry(&row.handler).or_insert_with(|| Backlog::new(name));
            match row.state() {
                DeliveryState::Running => entry.running += 1,
                _ => entry.waiting += 1,
            }
            let age = now.duration_since(self.events[row.event].stored_at);
            entry.oldest = entry.oldest.max(age.unwrap_or(Duration::ZERO));
            if self.is_due(*number, row, now) {
                entry.oldest_due = entry.oldest_due.max(now.duration_since(row.due).ok());
            }
        }
        backlog.into_values().collect()
    }
}

impl DeliveryRow {
    fn state(&self) -> DeliveryState {
        DeliveryState::from_number(self.state).expect("state was written by this store")
    }

    fn set_state(&mut self, state: DeliveryState) {
        self.state = state.number().into();
    }

    fn is_open(&self) -> bool {
        matches!(self.state(), DeliveryState::Waiting | DeliveryState::Running)
    }

    /// Returns the object and the recency, if the delivery is `NewestOnly`.
    fn newest_only(&self) -> Option<(&str, i64)> {
        let (object, position) = self.lane.as_ref()?;
        Some((object, newest_recency(*position)?))
    }

    fn restart(&mut self, received: Received, now: SystemTime) {
        self.set_state(DeliveryState::Waiting);
        (self.received, self.attempts, self.due) = (Some(received), 0, now);
        self.delayed = Duration::ZERO;
    }
}

impl Received {
    fn new(event: &Event) -> Self {
        let StoredEvent { payload, endpoint, signed_at, generation, serial } =
            StoredEvent::from_event(event);
        let payload = String::from_utf8(payload.to_vec()).expect("JSON is UTF-8");
        let payload = RawValue::from_string(payload).expect("payload is JSON");
        Self { payload, endpoint, signed_at, generation, serial }
    }

    fn event(&self) -> Result<Event, EnvelopeError> {
        let Self { payload, endpoint, signed_at, generation, serial } = self.clone();
        Event::from_store(StoredEvent {
            payload: String::from(Box::<str>::from(payload)).into(),
            endpoint,
            signed_at,
            generation,
            serial,
        })
    }
}
