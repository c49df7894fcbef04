//! The record: the message with the state of an event's deliveries. Each change replaces it.

use std::{sync::Arc, time::Duration};

use router_core::delivery::DeliveryOrder;
use serde::{Deserialize, Serialize};

use super::{event_meta::EventMeta, names};
use crate::{
    operations::DeliverySummary,
    store::{
        CompleteResult, DeliveryOutcome, DeliveryState, MAX_CLOCK_STEP, NewDelivery, NewEvent,
        OrderKey, StoredDelivery,
        history::{DeliveryHistory, EntryOutcome},
        millis::{millis, time},
        number::delivery_number,
        out_of_order_position, position,
    },
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
    /// The recency of the event, see [`OrderKey::recency`].
    pub(super) recency: i64,
    pub(super) deliveries: Vec<Delivery>,
    /// The own ids of the redelivered events whose payloads were stored, oldest first. A message
    /// for each has the payload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) copies: Vec<String>,
    /// `true` if the event had no deliveries and was then replayed. It is no longer unhandled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) replayed: bool,
}

/// The state of one delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery {
    pub(super) handler: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "names::order")]
    pub(super) order: Option<DeliveryOrder>,
    #[serde(with = "names::state")]
    pub(super) state: DeliveryState,
    pub(super) attempts: u32,
    /// The time from which the delivery can be claimed: the expiry of its lease if it is running.
    pub(super) due: i64,
    /// The delay with which `due` was scheduled, in milliseconds: 0 if the delivery was due at
    /// once.
    pub(super) delay: i64,
    /// The fencing token of the last lease.
    pub(super) token: i64,
    /// The total of the waits for which the handler has asked to run later, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) delayed: i64,
    /// The position in the lane, if the delivery runs out of order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) out_of_order: Option<i64>,
    /// The redelivered payload to deliver instead of the event's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) copy: Option<CopyRef>,
    /// The payload that came while the delivery was unfinished, to deliver if it ends as a dead
    /// letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) copy_since: Option<CopyRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended_at: Option<i64>,
    /// A process without this field removes it from the records that it replaces.
    #[serde(default, skip_serializing_if = "DeliveryHistory::is_empty")]
    pub(super) history: DeliveryHistory,
}

/// A reference to a redelivered payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct CopyRef {
    /// The generation that was redelivered. A replay can deliver the payload of an earlier one.
    pub(super) generation: u32,
    /// The index in [`Record::copies`] of that generation.
    pub(super) number: usize,
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
        let order_key = OrderKey::from_event(&new.event);
        Self {
            number: 0,
            meta: EventMeta::new(new, &order_key, now),
            recency: order_key.recency,
            deliveries: new.deliveries.iter().map(|new| Delivery::new(new, now)).collect(),
            copies: Vec::new(),
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
        delivery_number(self.number, index)
    }

    /// Returns the position of a delivery in its lane, or `None` if the delivery has no order.
    pub(super) fn lane_position(&self, delivery: &Delivery) -> Option<i64> {
        match delivery.order? {
            DeliveryOrder::OldestFirst => Some(delivery.out_of_order.unwrap_or(self.recency)),
            order @ DeliveryOrder::NewestOnly => Some(position(self.recency, order)),
        }
    }

    /// Returns whether the event was received with this id. A thin event and its snapshot event
    /// have one record, and different ids.
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.meta.id == id || self.copies.iter().any(|copy| copy == id)
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
    /// Returns a delivery that is due at once.
    pub(super) fn new(new: &NewDelivery, now: i64) -> Self {
        Self {
            handler: new.handler.clone(),
            order: new.order,
            state: DeliveryState::Waiting,
            attempts: 0,
            due: now,
            delay: 0,
            token: 0,
            delayed: 0,
            out_of_order: None,
            copy: None,
            copy_since: None,
            error: None,
            ended_at: None,
            history: DeliveryHistory::default(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, DeliveryState::Waiting | DeliveryState::Running)
    }

    /// Makes the delivery claimable after a delay: that of a retry, or the duration of a lease.
    pub(super) fn schedule(&mut self, now: i64, delay: Duration) {
        self.delay = millis(delay);
        self.due = now + self.delay;
    }

    /// Returns whether an open delivery is due so much later than its delay from now that it was
    /// scheduled before the server's clock was set back.
    pub(super) fn is_due_too_late(&self, now: i64) -> bool {
        // The estimates of the server's time differ between processes.
        self.is_open() && self.due > now + self.delay + millis(MAX_CLOCK_STEP)
    }

    /// Starts a new lease, and counts an attempt if the delivery is waiting. If its lease has
    /// expired, the attempt has been counted already, and the new lease only serves to complete it
    /// as failed.
    pub(super) fn claim(&mut self, now: i64, lease: Duration, worker: Option<&Arc<str>>) {
        if self.state == DeliveryState::Waiting {
            self.attempts += 1;
            self.history.start(now, worker.cloned());
        }
        self.state = DeliveryState::Running;
        self.schedule(now, lease);
        self.token += 1;
    }

    /// Returns whether the lease with this token is the current one, expired or not.
    pub(super) fn is_held(&self, token: i64) -> bool {
        self.state == DeliveryState::Running && self.token == token
    }

    /// Makes a finished delivery start over with its first attempt.
    pub(super) fn restart(&mut self, now: i64) {
        (self.state, self.attempts) = (DeliveryState::Waiting, 0);
        self.schedule(now, Duration::ZERO);
        (self.delayed, self.ended_at) = (0, None);
    }

    /// Ends a running attempt whose lease has expired, because an operator changes the delivery.
    pub(super) fn abandon(&mut self, now: i64) {
        if self.state == DeliveryState::Running {
            self.history.end(self.attempts, Some(EntryOutcome::abandoned()), now);
        }
    }

    /// Removes the errors, and discards a dead letter.
    pub(super) fn erase(&mut self, now: i64) {
        (self.error, self.copy_since) = (None, None);
        self.history.erase_errors();
        if self.state == DeliveryState::Dead {
            (self.state, self.ended_at) = (DeliveryState::Discarded, Some(now));
        }
    }

    /// Records the outcome of an attempt. A dead letter starts over if its event came again while
    /// the delivery was unfinished.
    pub(super) fn complete(&mut self, outcome: &DeliveryOutcome, now: i64) -> CompleteResult {
        self.schedule(now, Duration::ZERO);
        if !outcome.is_success() {
            self.history.end(self.attempts, EntryOutcome::new(outcome), now);
        }
        match outcome {
            DeliveryOutcome::Done => self.state = DeliveryState::Done,
            DeliveryOutcome::Ignored => self.state = DeliveryState::Ignored,
            DeliveryOutcome::Retry { wait, error } => {
                self.state = DeliveryState::Waiting;
                self.schedule(now, *wait);
                self.error = Some(error.clone());
            }
            DeliveryOutcome::Dead { error } => {
                self.state = DeliveryState::Dead;
                self.error = Some(error.clone());
                if let Some(copy) = self.copy_since.take() {
                    self.restart(now);
                    self.copy = Some(copy);
                    return CompleteResult::Restarted;
                }
            }
            DeliveryOutcome::Released { wait } => {
                self.state = DeliveryState::Waiting;
                self.schedule(now, *wait);
                self.attempts = self.attempts.saturating_sub(1);
            }
            DeliveryOutcome::Later { wait, reason, out_of_order } => {
                self.state = DeliveryState::Waiting;
                self.schedule(now, *wait);
                self.attempts = self.attempts.saturating_sub(1);
                self.delayed = self.delayed.saturating_add(self.delay);
                if *out_of_order {
                    self.out_of_order = time(self.due).map(out_of_order_position);
                }
                self.error = reason.clone().or(self.error.take());
            }
        }
        if !self.is_open() {
            (self.delayed, self.ended_at) = (0, Some(now));
        }
        CompleteResult::Recorded
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
            history: self.history.attempts(self.state, self.attempts, self.ended_at),
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
