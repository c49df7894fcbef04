//! How much there is: what is open or dead is read, and the rest is counted by its subjects.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::try_join_all;

use super::super::{
    Connection, Handler,
    read::{self, Reader},
    record::{Record, Row, Stage},
};
use crate::{
    DeliveryState, StoreError,
    operations::{BacklogCount, HandlerStatus, InboxStatus},
};

/// How many numbers of deliveries are asked for at once.
const AT_ONCE: usize = 8;

impl Connection {
    pub(super) async fn status(&self) -> Result<InboxStatus, StoreError> {
        let now = self.time.now();
        let mut handlers: BTreeMap<Arc<str>, HandlerStatus> =
            self.names().await?.into_iter().map(|name| (name.clone(), none_of(name))).collect();
        let (open, dead) =
            (self.records_in(Stage::Open).await?, self.records_in(Stage::Dead).await?);
        let mut finished = self.ended().await?;
        for record in open.iter().chain(&dead) {
            for row in &record.deliveries {
                let of_handler = handlers
                    .entry(row.handler.clone())
                    .or_insert_with(|| none_of(row.handler.clone()));
                if !count(of_handler, record, row, now) {
                    finished += 1;
                }
            }
        }
        let mirror = self.mirror().await?;
        for (name, of_handler) in &mut handlers {
            of_handler.due = mirror.open().due(name, now);
        }
        Ok(InboxStatus {
            events: read::count(&self.stream, self.subjects.events()).await?,
            unhandled: read::count(&self.stream, self.subjects.records(Stage::Unhandled)).await?,
            finished,
            handlers: handlers.into_values().collect(),
        })
    }

    /// Of each handler that has had a delivery.
    async fn names(&self) -> Result<BTreeSet<Arc<str>>, StoreError> {
        Ok(self.known_handlers().await?.into_keys().collect())
    }

    /// Each handler that has had a delivery, and whether its last one was ordered.
    pub(super) async fn known_handlers(&self) -> Result<BTreeMap<Arc<str>, bool>, StoreError> {
        let mut reader = Reader::of(&self.stream, vec![self.subjects.handlers()], false).await?;
        let mut handlers = BTreeMap::new();
        while let Some(read) = reader.next_there().await? {
            let handler: Handler = serde_json::from_slice(&read.payload).map_err(StoreError::of)?;
            handlers.insert(handler.name, handler.ordered);
        }
        reader.end().await;
        Ok(handlers)
    }

    /// The deliveries of events that have all ended well: how many each has, is in the subject.
    async fn ended(&self) -> Result<u64, StoreError> {
        let events = read::count(&self.stream, self.subjects.records(Stage::Ended)).await?;
        let (mut counted, mut deliveries, mut next) = (0, 0, 0);
        while counted < events && next < 1_000 {
            let numbers = next..next + AT_ONCE;
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

fn none_of(handler: Arc<str>) -> HandlerStatus {
    let none = BacklogCount::default();
    HandlerStatus { handler, waiting: none, running: none, dead: none, due: 0 }
}

/// Whether it is one of those that have not ended well.
fn count(of_handler: &mut HandlerStatus, record: &Record, row: &Row, now: i64) -> bool {
    let count = match row.state {
        DeliveryState::Waiting => &mut of_handler.waiting,
        DeliveryState::Running => &mut of_handler.running,
        DeliveryState::Dead => &mut of_handler.dead,
        DeliveryState::Done | DeliveryState::Ignored | DeliveryState::Discarded => return false,
    };
    let age = Duration::from_millis(u64::try_from(now - record.about.stored_at).unwrap_or(0));
    count.number += 1;
    count.oldest = Some(count.oldest.map_or(age, |oldest| oldest.max(age)));
    true
}
