//! Extends the leases of claimed deliveries, and completes the deliveries.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Connection, read,
    record::{Delivery, Stage},
};
use crate::{
    StoreError,
    store::{CompleteResult, DeliveryOutcome, Lease},
};

impl Connection {
    pub(super) async fn extend(
        &self,
        leases: &[Lease],
        duration: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let now = self.time.now();
        let leases: Vec<_> = leases.iter().collect();
        self.update_leased(&leases, |_, delivery| delivery.schedule(now, duration)).await
    }

    pub(super) async fn complete(
        &self,
        outcomes: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<CompleteResult>, StoreError> {
        let now = self.time.now();
        let leases: Vec<_> = outcomes.iter().map(|(lease, _)| lease).collect();
        let mut completed = vec![CompleteResult::LeaseLost; outcomes.len()];
        let held = self
            .update_leased(&leases, |index, delivery| {
                completed[index] = delivery.complete(&outcomes[index].1, now);
            })
            .await?;
        // A lease that was held can be lost before the update is written.
        let result = |(held, completed)| if held { completed } else { CompleteResult::LeaseLost };
        Ok(held.into_iter().zip(completed).map(result).collect())
    }

    /// Updates the deliveries whose leases are still held. Returns for each lease whether it was
    /// held.
    async fn update_leased(
        &self,
        leases: &[&Lease],
        mut update: impl FnMut(usize, &mut Delivery),
    ) -> Result<Vec<bool>, StoreError> {
        let mut held = vec![false; leases.len()];
        self.update_once(leases, &mut held, &mut update).await?;
        if held.contains(&false) {
            // The local view may not include the claim yet, if another process made it.
            self.catch_up().await?;
            self.update_once(leases, &mut held, &mut update).await?;
        }
        Ok(held)
    }

    /// Updates the deliveries whose leases are held according to the local view, and sets their
    /// flags in `held`. Skips leases whose flags are set already.
    async fn update_once(
        &self,
        leases: &[&Lease],
        held: &mut [bool],
        update: &mut impl FnMut(usize, &mut Delivery),
    ) -> Result<(), StoreError> {
        let mut by_record: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (index, lease) in leases.iter().enumerate().filter(|(index, _)| !held[*index]) {
            by_record.entry(lease.delivery).or_default().push(index);
        }
        let numbers = by_record.keys().copied().collect();
        self.update_open(numbers, |number, mut record| {
            for &index in &by_record[&number] {
                let lease = leases[index];
                let delivery =
                    record.as_deref_mut().and_then(|record| record.delivery_mut(&lease.handler));
                let delivery = delivery.filter(|delivery| delivery.is_held(lease.token));
                held[index] = delivery.is_some();
                if let Some(delivery) = delivery {
                    update(index, delivery);
                }
            }
            by_record[&number].iter().any(|index| held[*index])
        })
        .await
    }

    /// Waits until the local view includes all records that are open now.
    async fn catch_up(&self) -> Result<(), StoreError> {
        match read::last(&self.stream, &self.subjects.records(Stage::Open)).await? {
            Some(last) => self.mirror().await?.wait_for_sequence(last.sequence).await,
            None => Ok(()),
        }
    }
}
