//! The record: the message with the state of an event's deliveries. Each change replaces it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::event_meta::EventMeta;
use crate::{
    DeliveryOutcome, DeliveryState, NewEvent, OrderKey, StoredDelivery,
    operations::DeliverySummary,
    store::millis::{millis, time},
};

/// The state of an event's deliveries. Serialized as JSON, with times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The sequence of the record's first message. It identifies the record, and is greater for
    /// events that are stored later. The first message is written without it (as 0), and
    /// [`from_message`] adds it.
    ///
    /// [`from_message`]: Self::from_message
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) number: i64,
    #[serde(flatten)]
    pub(super) meta: EventMeta,
    /// The sort key of the event among its object's events, smaller for an older event. Ordered
    /// deliveries run in this order.
    pub(super) sort_key: i64,
    pub(super) deliveries: Vec<Delivery>,
    /// `true` if the event had no deliveries and was then replayed. It is no longer unhandled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) replayed: bool,
}

/// The state of one delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery {
    pub(super) handler: Arc<str>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) ordered: bool,
    #[serde(serialize_with = "write_state", deserialize_with = "read_state")]
    pub(super) state: DeliveryState,
    pub(super) attempts: u32,
    /// The time from which the delivery can be claimed: the expiry of its lease if it is running.
    pub(super) due: i64,
    /// The fencing token of the last lease.
    pub(super) token: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended_at: Option<i64>,
}

/// The overall state of an event's deliveries, which is part of the record's subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// At least one delivery is waiting or running.
    Open,
    /// No delivery is open, and at least one is a dead letter.
    Dead,
    /// All deliveries are done, ignored or discarded.
    Ended,
    /// The event has no deliveries, and has not been replayed.
    Unhandled,
}

impl Stage {
    pub(super) const ALL: [Self; 4] = [Self::Open, Self::Dead, Self::Ended, Self::Unhandled];
}

impl Record {
    pub(super) fn new(new: &NewEvent, now: i64) -> Self {
        let delivery = |new: &crate::NewDelivery| Delivery {
            handler: new.handler.clone(),
            ordered: new.ordered,
            state: DeliveryState::Waiting,
            attempts: 0,
            due: now,
            token: 0,
            error: None,
            ended_at: None,
        };
        let order_key = OrderKey::from_event(&new.event);
        Self {
            number: 0,
            meta: EventMeta::new(new, &order_key, now),
            sort_key: order_key.sort_key,
            deliveries: new.deliveries.iter().map(delivery).collect(),
            replayed: false,
        }
    }

    /// Parses the payload of the message with this sequence. Returns `None` for a tombstone.
    pub(super) fn from_message(payload: &[u8], sequence: u64) -> serde_json::Result<Option<Self>> {
        if payload.is_empty() {
            return Ok(None);
        }
        let mut record: Self = serde_json::from_slice(payload)?;
        if record.number == 0 {
            record.number = number_from_sequence(sequence);
        }
        Ok(Some(record))
    }

    pub(super) fn stage(&self) -> Stage {
        if self.deliveries.is_empty() && !self.replayed {
            Stage::Unhandled
        } else if self.deliveries.iter().any(Delivery::is_open) {
            Stage::Open
        } else if self.deliveries.iter().any(|delivery| delivery.state == DeliveryState::Dead) {
            Stage::Dead
        } else {
            Stage::Ended
        }
    }

    /// Returns the number by which lists sort a delivery: it ascends with the record's number, then
    /// with the delivery's index.
    pub(super) fn list_number(&self, index: usize) -> i64 {
        const MAX_DELIVERIES: i64 = 1 << 10;
        let index = i64::try_from(index).unwrap_or(MAX_DELIVERIES);
        self.number.saturating_mul(MAX_DELIVERIES).saturating_add(index)
    }

    pub(super) fn delivery_mut(&mut self, handler: &str) -> Option<&mut Delivery> {
        self.deliveries.iter_mut().find(|delivery| *delivery.handler == *handler)
    }

    pub(super) fn stored_delivery(&self, delivery: &Delivery) -> StoredDelivery {
        StoredDelivery {
            endpoint: self.meta.endpoint.clone(),
            account: self.meta.account.clone(),
            generation: self.meta.generation,
            handler: delivery.handler.clone(),
            state: delivery.state,
            attempts: delivery.attempts,
            error: delivery.error.clone(),
        }
    }
}

impl Delivery {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, DeliveryState::Waiting | DeliveryState::Running)
    }

    /// Starts a new lease, and counts an attempt if the delivery is waiting. If its lease has
    /// expired, the attempt has been counted already, and the new lease only serves to complete it
    /// as failed.
    pub(super) fn claim(&mut self, now: i64, lease: Duration) {
        if self.state == DeliveryState::Waiting {
            self.attempts += 1;
        }
        self.state = DeliveryState::Running;
        self.due = now + millis(lease);
        self.token += 1;
    }

    /// Returns whether the lease with this token is the current one, expired or not.
    pub(super) fn is_held(&self, token: i64) -> bool {
        self.state == DeliveryState::Running && self.token == token
    }

    pub(super) fn complete(&mut self, outcome: &DeliveryOutcome, now: i64) {
        self.due = now;
        match outcome {
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

    pub(super) fn summary(&self, is_blocked: bool) -> DeliverySummary {
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

pub(super) fn number_from_sequence(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
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
    let name = STATES.iter().find(|(candidate, _)| candidate == state).map_or("", |(_, name)| name);
    serializer.serialize_str(name)
}

fn read_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeliveryState, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    let state = STATES.iter().find(|(_, name)| *name == text).map(|(state, _)| *state);
    state.ok_or_else(|| serde::de::Error::custom(format!("unknown delivery state {text:?}")))
}
