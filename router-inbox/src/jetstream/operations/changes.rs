//! What is tried again, and what is given up.

use super::super::{
    Connection,
    about::About,
    messages::Unwritten,
    open::Located,
    record::{Record, Row},
    writes::{Change as Replaced, Contended},
};
use crate::{
    DeliveryState, StoreError,
    operations::{ChangeOutcome, ChangeResult},
};

/// How often it is decided anew, where others change the same.
const ATTEMPTS: usize = 8;

impl Connection {
    pub(super) async fn retry(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError> {
        let states = [DeliveryState::Waiting, DeliveryState::Dead, DeliveryState::Discarded];
        self.change_deliveries(event_id, handler, true, &states, |row, now| {
            if row.is_open() {
                row.due = row.due.min(now);
            } else {
                (row.due, row.attempts) = (now, 0);
            }
            (row.state, row.ended_at) = (DeliveryState::Waiting, None);
        })
        .await
    }

    pub(super) async fn discard(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError> {
        let states = [DeliveryState::Waiting, DeliveryState::Dead];
        self.change_deliveries(event_id, handler, false, &states, |row, now| {
            (row.state, row.ended_at) = (DeliveryState::Discarded, Some(now));
        })
        .await
    }

    /// Changes those of an event's deliveries that are in one of these states; of each handler only the last one where
    /// that is meant.
    async fn change_deliveries(
        &self,
        event_id: &str,
        handler: Option<&str>,
        only_last: bool,
        states: &[DeliveryState],
        change: impl Fn(&mut Row, i64),
    ) -> Result<Vec<ChangeResult>, StoreError> {
        for _ in 0..ATTEMPTS {
            let now = self.time.now();
            let mut records = self.records(&self.events_with_id(event_id).await?).await?;
            records.sort_by_key(|of| {
                let About { endpoint, account, generation, .. } = &of.record.about;
                (endpoint.clone(), account.clone(), *generation)
            });
            let (mut changed, mut changes) = (Vec::new(), Vec::new());
            for of in &records {
                let mut record = (*of.record).clone();
                let mut rows: Vec<&mut Row> = record.deliveries.iter_mut().collect();
                rows.sort_by_key(|row| row.handler.clone());
                let mut is_changed = false;
                for row in rows {
                    let is_meant = handler.is_none_or(|name| *name == *row.handler)
                        && (!only_last || is_last(&records, of, &row.handler));
                    if is_meant {
                        let delivery = of.record.kept(row);
                        let done = what_is_done(row, states, now);
                        if done == ChangeOutcome::Applied {
                            change(row, now);
                            is_changed = true;
                        }
                        changed.push(ChangeResult { delivery, change: done });
                    }
                }
                if is_changed {
                    changes.push(Replaced { of: of.clone(), record });
                }
            }
            match self.replace_and_forget(&changes).await {
                Ok(()) => return Ok(changed),
                Err(Unwritten::Failed(error)) => return Err(error),
                Err(Unwritten::Conflict) => {}
            }
        }
        Err(StoreError::of(Contended))
    }

    /// Replaces records, and leaves nothing of them where it would be counted.
    async fn replace_and_forget(&self, changes: &[Replaced]) -> Result<(), Unwritten> {
        if changes.is_empty() {
            return Ok(());
        }
        let moved = self.replace(changes).await?;
        self.forget(moved).await;
        Ok(())
    }
}

fn what_is_done(row: &Row, states: &[DeliveryState], now: i64) -> ChangeOutcome {
    // Nobody holds one whose lease has run out.
    let state = if row.is_open() { DeliveryState::Waiting } else { row.state };
    if row.state == DeliveryState::Running && row.due > now {
        ChangeOutcome::StillRunning
    } else if states.contains(&state) {
        ChangeOutcome::Applied
    } else {
        ChangeOutcome::AlreadyFinished
    }
}

/// Whether no later generation of its event has a delivery of this handler.
fn is_last(records: &[Located], of: &Located, handler: &str) -> bool {
    let about = &of.record.about;
    let is_later = |other: &Record| {
        other.about.is_of_the_same(about) && other.about.generation > about.generation
    };
    let has_it = |other: &Record| other.deliveries.iter().any(|row| *row.handler == *handler);
    !records.iter().any(|other| is_later(&other.record) && has_it(&other.record))
}
