//! How far an event's deliveries are: one message of the stream, which each change replaces.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::about::About;
use crate::{
    DeliveryOutcome, DeliveryState, NewEvent, OrderKey, StoredDelivery,
    operations::DeliverySummary,
    store::millis::{millis, time},
};

/// An event's deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The sequence of its first message, which cannot have it in it. Greater for an event that came later.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) number: i64,
    #[serde(flatten)]
    pub(super) about: About,
    /// Of its events, an object's ordered deliveries go by this.
    pub(super) age: i64,
    pub(super) deliveries: Vec<Row>,
    /// Whether it was replayed; of one without deliveries, which is not unhandled then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) replayed: bool,
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) handler: Arc<str>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) ordered: bool,
    #[serde(serialize_with = "write_state", deserialize_with = "read_state")]
    pub(super) state: DeliveryState,
    pub(super) attempts: u32,
    /// Of one that waits: from when on it can be claimed. Of one that runs: until when the lease lasts.
    pub(super) due: i64,
    pub(super) token: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended_at: Option<i64>,
}

/// How far an event is, which decides on which subject its record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A delivery waits or runs.
    Open,
    /// None does, and one is a dead letter.
    Dead,
    /// All have ended well.
    Ended,
    /// No handler was for it, nor for a replay of it.
    Unhandled,
}

impl Stage {
    pub(super) const ALL: [Self; 4] = [Self::Open, Self::Dead, Self::Ended, Self::Unhandled];
}

impl Record {
    pub(super) fn new(new: &NewEvent, now: i64) -> Self {
        let row = |new: &crate::NewDelivery| Row {
            handler: new.handler.clone(),
            ordered: new.ordered,
            state: DeliveryState::Waiting,
            attempts: 0,
            due: now,
            token: 0,
            error: None,
            ended_at: None,
        };
        let place = OrderKey::of(&new.event);
        Self {
            number: 0,
            about: About::of(new, &place, now),
            age: place.age,
            deliveries: new.deliveries.iter().map(row).collect(),
            replayed: false,
        }
    }

    /// As it is in a message; `None` of one that only says that the record is elsewhere now.
    pub(super) fn read(payload: &[u8], sequence: u64) -> serde_json::Result<Option<Self>> {
        if payload.is_empty() {
            return Ok(None);
        }
        let mut record: Self = serde_json::from_slice(payload)?;
        if record.number == 0 {
            record.number = number_of(sequence);
        }
        Ok(Some(record))
    }

    pub(super) fn stage(&self) -> Stage {
        if self.deliveries.is_empty() && !self.replayed {
            Stage::Unhandled
        } else if self.deliveries.iter().any(Row::is_open) {
            Stage::Open
        } else if self.deliveries.iter().any(|row| row.state == DeliveryState::Dead) {
            Stage::Dead
        } else {
            Stage::Ended
        }
    }

    /// Of the delivery in a list: greater for a later event, and then for a later handler of it.
    pub(super) fn number_of(&self, at: usize) -> i64 {
        const HANDLERS: i64 = 1 << 10;
        self.number.saturating_mul(HANDLERS).saturating_add(i64::try_from(at).unwrap_or(HANDLERS))
    }

    pub(super) fn row(&mut self, handler: &str) -> Option<&mut Row> {
        self.deliveries.iter_mut().find(|row| *row.handler == *handler)
    }

    pub(super) fn kept(&self, row: &Row) -> StoredDelivery {
        StoredDelivery {
            endpoint: self.about.endpoint.clone(),
            account: self.about.account.clone(),
            generation: self.about.generation,
            handler: row.handler.clone(),
            state: row.state,
            attempts: row.attempts,
            error: row.error.clone(),
        }
    }
}

impl Row {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, DeliveryState::Waiting | DeliveryState::Running)
    }

    /// Somebody runs it from now on, or is told that whoever ran it has not said how it ended.
    pub(super) fn claim(&mut self, now: i64, lease: Duration) {
        if self.state == DeliveryState::Waiting {
            self.attempts += 1;
        }
        self.state = DeliveryState::Running;
        self.due = now + millis(lease);
        self.token += 1;
    }

    pub(super) fn is_held(&self, token: i64) -> bool {
        self.state == DeliveryState::Running && self.token == token
    }

    pub(super) fn end(&mut self, end: &DeliveryOutcome, now: i64) {
        self.due = now;
        match end {
            DeliveryOutcome::Done => self.state = DeliveryState::Done,
            DeliveryOutcome::Ignored => self.state = DeliveryState::Ignored,
            DeliveryOutcome::Retry { wait, error } => {
                self.state = DeliveryState::Waiting;
                self.due = now + millis(*wait);
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

    pub(super) fn listed(&self, is_blocked: bool) -> DeliverySummary {
        DeliverySummary {
            handler: self.handler.clone(),
            state: self.state,
            attempts: self.attempts,
            due: self.is_open().then(|| time(self.due)).flatten(),
            is_blocked,
            ended_at: self.ended_at.and_then(time),
            error: self.error.clone(),
        }
    }
}

pub(super) fn number_of(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

const STATES: [(DeliveryState, &str); 6] = [
    (DeliveryState::Waiting, "waiting"),
    (DeliveryState::Running, "running"),
    (DeliveryState::Done, "done"),
    (DeliveryState::Ignored, "ignored"),
    (DeliveryState::Dead, "dead"),
    (DeliveryState::Discarded, "discarded"),
];

fn write_state<S: Serializer>(state: &DeliveryState, serializer: S) -> Result<S::Ok, S::Error> {
    let name = STATES.iter().find(|(one, _)| one == state).map_or("", |(_, name)| name);
    serializer.serialize_str(name)
}

fn read_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeliveryState, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    let state = STATES.iter().find(|(_, name)| *name == text).map(|(state, _)| *state);
    state.ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no state of a delivery")))
}
