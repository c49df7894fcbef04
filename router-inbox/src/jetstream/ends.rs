//! Leases that go on, and how they end.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Connection, read,
    record::{Row, Stage},
};
use crate::{Completed, DeliveryOutcome, Lease, StoreError, store::millis::millis};

impl Connection {
    pub(super) async fn extend(
        &self,
        leases: &[Lease],
        wanted: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let now = self.time.now();
        let leases: Vec<_> = leases.iter().collect();
        self.change_held(&leases, |_, row| row.due = now + millis(wanted)).await
    }

    pub(super) async fn complete(
        &self,
        ends: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<Completed>, StoreError> {
        let now = self.time.now();
        let leases: Vec<_> = ends.iter().map(|(lease, _)| lease).collect();
        let held = self.change_held(&leases, |at, row| row.end(&ends[at].1, now)).await?;
        let completed = |held| if held { Completed::Recorded } else { Completed::LeaseLost };
        Ok(held.into_iter().map(completed).collect())
    }

    /// Changes the deliveries of which the leases are held still; which those were.
    async fn change_held(
        &self,
        leases: &[&Lease],
        mut change: impl FnMut(usize, &mut Row),
    ) -> Result<Vec<bool>, StoreError> {
        let mut held = vec![false; leases.len()];
        self.change_those_held(leases, &mut held, &mut change).await?;
        if held.contains(&false) {
            // One may have been claimed in another process, of which it is not known here yet.
            self.catch_up().await?;
            self.change_those_held(leases, &mut held, &mut change).await?;
        }
        Ok(held)
    }

    /// Those that were not changed before.
    async fn change_those_held(
        &self,
        leases: &[&Lease],
        held: &mut [bool],
        change: &mut impl FnMut(usize, &mut Row),
    ) -> Result<(), StoreError> {
        let mut of_record: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (at, lease) in leases.iter().enumerate().filter(|(at, _)| !held[*at]) {
            of_record.entry(lease.delivery).or_default().push(at);
        }
        let numbers = of_record.keys().copied().collect();
        self.change_open(numbers, |number, mut record| {
            for &at in &of_record[&number] {
                let row = record.as_deref_mut().and_then(|record| record.row(&leases[at].handler));
                let row = row.filter(|row| row.is_held(leases[at].token));
                held[at] = row.is_some();
                if let Some(row) = row {
                    change(at, row);
                }
            }
            of_record[&number].iter().any(|at| held[*at])
        })
        .await
    }

    /// Waits until all that is there by now is known here.
    async fn catch_up(&self) -> Result<(), StoreError> {
        match read::last(&self.stream, &self.subjects.records(Stage::Open)).await? {
            Some(last) => self.mirror().await?.heard(last.sequence).await,
            None => Ok(()),
        }
    }
}
