//! Returns everything that is stored of an event.

use super::super::{
    Connection, claims::stored_event, open_records::VersionedRecord, record::Record,
};
use crate::{StoreError, StoredDelivery, operations::EventDetails};

impl Connection {
    pub(super) async fn show(&self, event_id: &str) -> Result<Vec<EventDetails>, StoreError> {
        self.mirror().await?;
        let mut shown = Vec::new();
        for event in self.events_with_id(event_id).await? {
            let record = self.record(&event.meta).await?;
            let mut deliveries: Vec<_> =
                record.iter().flat_map(|base| self.summaries(base)).collect();
            deliveries.sort_by_key(|delivery| delivery.handler.clone());
            let stored = stored_event(&event.meta, event.payload);
            shown.push(EventDetails { event: event.meta.summary(), stored, deliveries });
        }
        shown.sort_by_key(|EventDetails { event, .. }| {
            (event.endpoint.clone(), event.account.clone(), event.generation)
        });
        Ok(shown)
    }

    /// Returns summaries of a record's deliveries.
    fn summaries(&self, base: &VersionedRecord) -> Vec<crate::operations::DeliverySummary> {
        let deliveries = base.record.deliveries.iter().enumerate();
        let mirror = self.mirror.get();
        deliveries
            .map(|(index, delivery)| {
                let is_blocked = || {
                    mirror.is_some_and(|mirror| mirror.records().is_blocked(&base.record, index))
                };
                delivery.summary(delivery.is_open() && is_blocked())
            })
            .collect()
    }

    pub(in super::super) async fn deliveries(
        &self,
        event_id: &str,
    ) -> Result<Vec<StoredDelivery>, StoreError> {
        let records = self.records(&self.events_with_id(event_id).await?).await?;
        let stored_deliveries = |record: &Record| -> Vec<_> {
            record.deliveries.iter().map(|delivery| record.stored_delivery(delivery)).collect()
        };
        let mut deliveries: Vec<_> =
            records.iter().flat_map(|base| stored_deliveries(&base.record)).collect();
        deliveries.sort_by_key(|delivery| {
            let StoredDelivery { endpoint, account, generation, handler, .. } = delivery;
            (endpoint.clone(), account.clone(), *generation, handler.clone())
        });
        Ok(deliveries)
    }
}
