//! Counts events and deliveries.
//!
//! Open and dead records are read. The server counts the others by their subjects, so that
//! millions need not be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::try_join_all;
use router_core::delivery::DeliveryOrder;

use super::super::{
    Connection, HandlerEntry,
    read::{self, Reader},
    record::{Delivery, Record, Stage},
};
use crate::{
    StoreError,
    operations::{HandlerStatus, InboxStatus},
    store::{DeliveryState, millis::elapsed},
};

/// Number of counts that are requested concurrently.
const CONCURRENT_COUNTS: usize = 8;

impl Connection {
    pub(super) async fn status(&self) -> Result<InboxStatus, StoreError> {
        let now = self.time.now();
        let mut handlers: BTreeMap<Arc<str>, HandlerStatus> = self
            .names()
            .await?
            .into_iter()
            .map(|name| (name.clone(), HandlerStatus::new(name)))
            .collect();
        let (open, dead) =
            (self.records_in(Stage::Open).await?, self.records_in(Stage::Dead).await?);
        let mut finished = self.count_ended().await?;
        for record in open.iter().chain(&dead) {
            for delivery in &record.deliveries {
                let status = handlers
                    .entry(delivery.handler.clone())
                    .or_insert_with_key(|name| HandlerStatus::new(name.clone()));
                if !count(status, record, delivery, now) {
                    finished += 1;
                }
            }
        }
        let mirror = self.mirror().await?;
        for (name, status) in &mut handlers {
            let records = mirror.records();
            status.due = records.count_due(name, now);
            status.oldest_due = records.oldest_due(name, now);
        }
        Ok(InboxStatus {
            events: read::count(&self.stream, self.subjects.events()).await?,
            unhandled: read::count(&self.stream, self.subjects.records(Stage::Unhandled)).await?,
            finished,
            handlers: handlers.into_values().collect(),
            workers: Some(self.workers().await?),
            paused: self.paused_handlers().await?,
        })
    }

    /// Reads the names of all handlers that have had a delivery.
    async fn names(&self) -> Result<BTreeSet<Arc<str>>, StoreError> {
        Ok(self.read_handlers().await?.into_keys().collect())
    }

    /// Reads all handlers that have had a delivery, each with the order of its latest one.
    pub(super) async fn read_handlers(
        &self,
    ) -> Result<BTreeMap<Arc<str>, Option<DeliveryOrder>>, StoreError> {
        let mut reader = Reader::new(&self.stream, vec![self.subjects.handlers()], false).await?;
        let mut handlers = BTreeMap::new();
        while let Some(message) = reader.next_existing().await? {
            let entry: HandlerEntry =
                serde_json::from_slice(&message.payload).map_err(StoreError::corrupt)?;
            handlers.insert(entry.name, entry.order);
        }
        reader.close().await;
        Ok(handlers)
    }

    /// Counts the deliveries of ended records. A record's subject has the number of its deliveries,
    /// so the records are counted for each such number.
    async fn count_ended(&self) -> Result<u64, StoreError> {
        let events = read::count(&self.stream, self.subjects.records(Stage::Ended)).await?;
        let (mut counted, mut deliveries, mut next) = (0, 0, 0);
        while counted < events && next < 1_000 {
            let numbers = next..next + CONCURRENT_COUNTS;
            next = numbers.end;
            let counts = numbers.map(async |number| {
                let events = read::count(&self.stream, self.subjects.ended_with(number)).await?;
                Ok::<_, StoreError>((number as u64, events))
            });
            for (number, events) in try_join_all(counts).await? {
                counted += events;
                deliveries += number * events;
            }
        }
        Ok(deliveries)
    }
}

/// Counts a delivery that is waiting, running or dead. Returns `false` for any other.
fn count(status: &mut HandlerStatus, record: &Record, delivery: &Delivery, now: i64) -> bool {
    let count = match delivery.state {
        DeliveryState::Waiting => &mut status.waiting,
        DeliveryState::Running => &mut status.running,
        DeliveryState::Dead => &mut status.dead,
        DeliveryState::Done | DeliveryState::Ignored | DeliveryState::Discarded => return false,
    };
    let age = elapsed(now - record.meta.stored_at).unwrap_or_default();
    count.number += 1;
    count.oldest = count.oldest.max(Some(age));
    true
}
