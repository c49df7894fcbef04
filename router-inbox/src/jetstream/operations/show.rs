//! All that is kept of an event.

use super::super::{Connection, claims::kept, open::Located, record::Record};
use crate::{StoreError, StoredDelivery, operations::EventDetails};

impl Connection {
    pub(super) async fn show(&self, event_id: &str) -> Result<Vec<EventDetails>, StoreError> {
        self.mirror().await?;
        let mut shown = Vec::new();
        for event in self.events_with_id(event_id).await? {
            let record = self.record(&event.about).await?;
            let mut deliveries: Vec<_> = record.iter().flat_map(|of| self.listed(of)).collect();
            deliveries.sort_by_key(|delivery| delivery.handler.clone());
            let (listed, kept) = (event.about.listed(), kept(&event.about, event.payload));
            shown.push(EventDetails { event: listed, kept, deliveries });
        }
        shown.sort_by_key(|EventDetails { event, .. }| {
            (event.endpoint.clone(), event.account.clone(), event.generation)
        });
        Ok(shown)
    }

    fn listed(&self, of: &Located) -> Vec<crate::operations::DeliverySummary> {
        let rows = of.record.deliveries.iter().enumerate();
        let mirror = self.mirror.get();
        rows.map(|(at, row)| {
            let is_blocked = || mirror.is_some_and(|known| known.open().is_blocked(&of.record, at));
            row.listed(row.is_open() && is_blocked())
        })
        .collect()
    }

    pub(in super::super) async fn deliveries(
        &self,
        event_id: &str,
    ) -> Result<Vec<StoredDelivery>, StoreError> {
        let records = self.records(&self.events_with_id(event_id).await?).await?;
        let of_record = |record: &Record| -> Vec<_> {
            record.deliveries.iter().map(|row| record.kept(row)).collect()
        };
        let mut kept: Vec<_> = records.iter().flat_map(|of| of_record(&of.record)).collect();
        kept.sort_by_key(|one| {
            (one.endpoint.clone(), one.account.clone(), one.generation, one.handler.clone())
        });
        Ok(kept)
    }
}
