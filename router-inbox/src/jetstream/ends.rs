//! Leases that go on, and how they end.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Connection,
    record::{Record, Row},
};
use crate::{Completed, End, Lease, StoreError, store::millis::millis};

impl Connection {
    pub(super) async fn extend(
        &self,
        leases: &[Lease],
        wanted: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let now = self.time.now();
        let mut held = vec![false; leases.len()];
        let of_record = by_record(leases);
        let numbers = of_record.keys().copied().collect();
        self.change_open(numbers, |number, mut record| {
            for at in &of_record[&number] {
                let row = held_by(&leases[*at], record.as_deref_mut());
                held[*at] = row.is_some();
                if let Some(row) = row {
                    row.due = now + millis(wanted);
                }
            }
            of_record[&number].iter().any(|at| held[*at])
        })
        .await?;
        Ok(held)
    }

    pub(super) async fn complete(
        &self,
        ends: &[(Lease, End)],
    ) -> Result<Vec<Completed>, StoreError> {
        let now = self.time.now();
        let mut completed = vec![Completed::LeaseLost; ends.len()];
        let leases: Vec<_> = ends.iter().map(|(lease, _)| lease.clone()).collect();
        let of_record = by_record(&leases);
        let numbers = of_record.keys().copied().collect();
        self.change_open(numbers, |number, mut record| {
            for at in &of_record[&number] {
                let (lease, end) = &ends[*at];
                completed[*at] = match held_by(lease, record.as_deref_mut()) {
                    Some(row) => {
                        row.end(end, now);
                        Completed::Recorded
                    }
                    None => Completed::LeaseLost,
                };
            }
            of_record[&number].iter().any(|at| completed[*at] == Completed::Recorded)
        })
        .await?;
        Ok(completed)
    }
}

fn by_record(leases: &[Lease]) -> BTreeMap<i64, Vec<usize>> {
    let mut of_record: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (at, lease) in leases.iter().enumerate() {
        of_record.entry(lease.delivery).or_default().push(at);
    }
    of_record
}

fn held_by<'r>(lease: &Lease, record: Option<&'r mut Record>) -> Option<&'r mut Row> {
    record?.row(&lease.handler).filter(|row| row.is_held(lease.token))
}
