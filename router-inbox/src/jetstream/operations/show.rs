//! Shows all generations of an event, with their payloads and deliveries.

use super::super::{Connection, claims::stored_event, open_records::VersionedRecord};
use crate::{StoreError, operations::EventDetails, store::StoredDelivery};

impl Connection {
    pub(super) async fn show(&self, event_id: &str) -> Result<Vec<EventDetails>, StoreError> {
        self.mirror().await?;
        let mut shown = Vec::new();
        let found = self.records_with_id(event_id).await?;
        for (event, base) in found.payloads.into_iter().zip(found.records) {
            let mut deliveries = self.summaries(&base);
            deliveries.sort_by_key(|delivery| delivery.handler.clone());
            let copies = self.copies(&base.record).await?.into_iter();
            let redelivered = copies.map(|copy| stored_event(&copy.meta, copy.payload)).collect();
            let stored = stored_event(&event.meta, event.payload);
            let event = event.meta.summary();
            shown.push(EventDetails { event, stored, redelivered, deliveries });
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
        let mut deliveries = Vec::new();
        for VersionedRecord { record, .. } in &self.records_with_id(event_id).await?.records {
            for (index, delivery) in record.deliveries.iter().enumerate() {
                deliveries.push((record.list_number(index), record.stored_delivery(delivery)));
            }
        }
        deliveries.sort_by_cached_key(|(number, delivery)| delivery_order(*number, delivery));
        Ok(deliveries.into_iter().map(|(_, delivery)| delivery).collect())
    }
}

/// Returns the key by which the deliveries of an id are sorted. `number` is that of the delivery.
pub(super) fn delivery_order(number: i64, delivery: &StoredDelivery) -> impl Ord + use<> {
    let StoredDelivery { endpoint, account, generation, handler, .. } = delivery.clone();
    (endpoint, account, generation, handler, number)
}
