//! What has ended long ago is deleted.

use std::{collections::HashSet, time::Duration};

use futures_util::future::try_join_all;

use super::{
    super::{
        Connection,
        messages::{Message, Unwritten},
        open::Located,
        record::Stage,
        writes::Contended,
    },
    KeptMessage,
};
use crate::{StoreError, store::millis::millis};

/// How often it is decided anew, where others change the same.
const ATTEMPTS: usize = 8;

/// So many at once. Each is two messages, and two more for each of its replays.
const TOGETHER: usize = 50;

/// An event's generations, and their records.
struct Purged {
    events: Vec<KeptMessage>,
    records: Vec<Located>,
}

impl Connection {
    pub(super) async fn purge(
        &self,
        events: &[i64],
        older_than: Duration,
    ) -> Result<u64, StoreError> {
        let mut purged = 0;
        for events in events.chunks(TOGETHER) {
            purged += self.purge_together(events, older_than).await?;
        }
        Ok(purged)
    }

    async fn purge_together(
        &self,
        events: &[i64],
        older_than: Duration,
    ) -> Result<u64, StoreError> {
        for _ in 0..ATTEMPTS {
            let before = self.time.now().saturating_sub(millis(older_than));
            let looked_at = events.iter().map(|number| self.purgeable(*number, before));
            let mut seen = HashSet::new();
            let mut purgeable: Vec<Purged> = Vec::new();
            for purged in try_join_all(looked_at).await?.into_iter().flatten() {
                if purged.events.first().is_some_and(|first| seen.insert(first.sequence)) {
                    purgeable.push(purged);
                }
            }
            match self.delete(&purgeable).await {
                Ok(()) => return Ok(purgeable.len() as u64),
                Err(Unwritten::Failed(error)) => return Err(error),
                Err(Unwritten::Conflict) => {}
            }
        }
        Err(StoreError::of(Contended))
    }

    async fn purgeable(&self, number: i64, before: i64) -> Result<Option<Purged>, StoreError> {
        let Some(event) = self.numbered(number).await? else { return Ok(None) };
        let events = self.generations(&event.about).await?;
        let records = self.records(&events).await?;
        let is_over = |of: &Located| {
            let record = &of.record;
            [Stage::Ended, Stage::Unhandled].contains(&record.stage())
                && record.about.stored_at <= before
                && record.deliveries.iter().all(|row| row.ended_at.is_some_and(|at| at <= before))
        };
        let is_whole = records.len() == events.len();
        Ok((is_whole && records.iter().all(is_over)).then_some(Purged { events, records }))
    }

    async fn delete(&self, purged: &[Purged]) -> Result<(), Unwritten> {
        let mut messages = Vec::new();
        for Purged { events, records } in purged {
            messages.extend(events.iter().map(|event| {
                Message::moved(self.subjects.event(&event.about)).replacing(event.sequence)
            }));
            messages.extend(
                records
                    .iter()
                    .map(|of| Message::moved(of.subject.to_string()).replacing(of.revision)),
            );
        }
        if messages.is_empty() {
            return Ok(());
        }
        let last = self.write(&messages).await?;
        self.forget(last - messages.len() as u64 + 1..=last).await;
        Ok(())
    }
}
