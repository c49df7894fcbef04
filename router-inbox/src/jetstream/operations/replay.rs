//! An event once more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::try_join_all;
use router_core::Event;

use super::super::{
    Connection,
    claims::kept,
    messages::{Message, Unwritten},
    open::Located,
    record::Record,
    writes::{Change, Contended},
};
use crate::{DeliveryState, NewDelivery, NewEvent, StoreError, operations::Replayed};

/// How often it is decided anew, where others change the same.
const ATTEMPTS: usize = 8;

/// So many at once. Each is at least two messages, and some for each of its generations.
const TOGETHER: usize = 100;

/// What is written for one event.
#[derive(Default)]
struct Plan {
    replayed: Option<Replayed>,
    new: Option<Record>,
    messages: Vec<Message>,
    changes: Vec<Change>,
}

impl Connection {
    pub(super) async fn replay(
        &self,
        events: &[i64],
        handlers: &[Arc<str>],
    ) -> Result<Vec<Replayed>, StoreError> {
        let ordered = self.known_handlers().await?;
        let mut replayed = Vec::new();
        let mut left = events;
        while !left.is_empty() {
            let (now, later) = left.split_at(unlike(left).min(TOGETHER));
            replayed.extend(self.replay_together(now, handlers, &ordered).await?);
            left = later;
        }
        Ok(replayed)
    }

    async fn replay_together(
        &self,
        events: &[i64],
        handlers: &[Arc<str>],
        ordered: &BTreeMap<Arc<str>, bool>,
    ) -> Result<Vec<Replayed>, StoreError> {
        for _ in 0..ATTEMPTS {
            let plans = events.iter().map(|number| self.plan(*number, handlers, ordered));
            let plans = try_join_all(plans).await?;
            match self.write_plans(&plans).await {
                Ok(()) => return Ok(plans.into_iter().filter_map(|plan| plan.replayed).collect()),
                Err(Unwritten::Failed(error)) => return Err(error),
                Err(Unwritten::Conflict) => {}
            }
        }
        Err(StoreError::of(Contended))
    }

    async fn plan(
        &self,
        number: i64,
        given: &[Arc<str>],
        ordered: &BTreeMap<Arc<str>, bool>,
    ) -> Result<Plan, StoreError> {
        let told = |replayed| Plan { replayed: Some(replayed), ..Plan::default() };
        let Some(event) = self.numbered(number).await? else { return Ok(told(Replayed::Gone)) };
        let generations = self.generations(&event.about).await?;
        let Some(last) = generations.last() else { return Ok(told(Replayed::Gone)) };
        let records = self.records(&generations).await?;
        let event_id = last.about.id.clone();
        let mut about = last.about.clone();
        about.generation = about.generation.saturating_add(1);
        let generation = about.generation;
        let Ok(event) = Event::from_store(kept(&about, last.payload.clone())) else {
            return Ok(told(Replayed::Damaged { event_id }));
        };
        let handlers = handlers(given, &records, last.about.generation);
        if handlers.is_empty() {
            return Ok(told(Replayed::NoHandler { event_id }));
        }
        let is_ordered = |handler: &Arc<str>| ordered.get(handler).copied().unwrap_or(false);
        let delivery = |handler: &Arc<str>| NewDelivery {
            handler: handler.clone(),
            ordered: is_ordered(handler),
        };
        let now = self.time.now();
        let deliveries = handlers.iter().map(delivery).collect();
        let record = Record::new(&NewEvent { event: event.clone(), deliveries }, now);
        let subject = self.subjects.event(&record.about);
        let payload = event.payload().clone();
        let place = self.subjects.record(&record.about, record.stage());
        let message = Message::event(subject, &record.about, payload)?.replacing(0);
        let messages = vec![message, Message::record(place, &record)?];
        let changes = records.iter().filter_map(|of| stand_for(of, &handlers, now)).collect();
        let handlers = handlers.into_iter().collect();
        let replayed = Some(Replayed::Again { event_id, generation, handlers });
        Ok(Plan { replayed, new: Some(record), messages, changes })
    }

    async fn write_plans(&self, plans: &[Plan]) -> Result<(), Unwritten> {
        let rows =
            plans.iter().filter_map(|plan| plan.new.as_ref()).flat_map(|new| &new.deliveries);
        let (names, mut messages) =
            self.new_handlers(rows.map(|row| (&row.handler, row.ordered)))?;
        let told = messages.len();
        for plan in plans {
            messages.extend(plan.messages.iter().cloned());
            for change in &plan.changes {
                messages.extend(self.change(change)?);
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        let last = self.write(&messages).await?;
        self.know_handlers(names);
        let mut sequence = last - (messages.len() - told) as u64;
        let mut moved = Vec::new();
        for plan in plans {
            if let Some(new) = &plan.new {
                sequence += 2;
                self.hear_of(new, sequence);
            }
            for change in &plan.changes {
                moved.extend(self.hear_of_change(change, &mut sequence));
            }
        }
        self.forget(moved).await;
        Ok(())
    }
}

/// How many of these come before one that is there twice, whose generations depend on each other.
fn unlike(events: &[i64]) -> usize {
    let mut seen = BTreeSet::new();
    events.iter().take_while(|event| seen.insert(**event)).count()
}

/// The given ones, or those that this generation was for.
fn handlers(given: &[Arc<str>], records: &[Located], generation: u32) -> BTreeSet<Arc<str>> {
    if !given.is_empty() {
        return given.iter().cloned().collect();
    }
    let last = records.iter().filter(|of| of.record.about.generation == generation);
    let rows = last.flat_map(|of| of.record.deliveries.iter());
    rows.map(|row| row.handler.clone()).collect()
}

/// The replay stands for what it replays: its dead letters are discarded, and it is not unhandled any more.
fn stand_for(of: &Located, handlers: &BTreeSet<Arc<str>>, now: i64) -> Option<Change> {
    let mut record = (*of.record).clone();
    record.replayed |= record.deliveries.is_empty();
    for row in &mut record.deliveries {
        if row.state == DeliveryState::Dead && handlers.contains(&row.handler) {
            (row.state, row.ended_at) = (DeliveryState::Discarded, Some(now));
        }
    }
    (record != *of.record).then(|| Change { of: of.clone(), record })
}
