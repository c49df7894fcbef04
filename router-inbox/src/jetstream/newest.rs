//! The highest recency of an object's events that a handler has done, for
//! [`DeliveryOrder::NewestOnly`].
//!
//! One message for each handler and object has the recency. It never expires. It is written in the
//! atomic batch that completes a delivery as done.

use futures_util::future::try_join_all;
use router_core::delivery::DeliveryOrder;

use super::{
    Connection,
    messages::Message,
    read,
    record::{Delivery, Record},
    writes::Replacement,
};
use crate::{
    StoreError,
    store::{DeliveryState, order::NO_TIME},
};

/// A remembered recency, and the revision of its message.
struct NewestDone {
    recency: Option<i64>,
    revision: u64,
}

impl Connection {
    /// Adds to a replacement the messages that remember the recency of the deliveries which it
    /// completes as done.
    pub(super) async fn remember_done(
        &self,
        replacement: &mut Replacement,
    ) -> Result<(), StoreError> {
        let Replacement { base, record, .. } = &*replacement;
        let is_completed = |(before, after): &(&Delivery, &Delivery)| {
            before.state == DeliveryState::Running
                && after.state == DeliveryState::Done
                && after.order == Some(DeliveryOrder::NewestOnly)
        };
        let deliveries = base.record.deliveries.iter().zip(&record.deliveries);
        let messages = deliveries.filter(is_completed).map(async |(_, delivery)| {
            let newest = self.newest_done(record, delivery).await?;
            if newest.recency >= Some(record.recency) {
                return Ok(None);
            }
            let subject = self.subjects.newest_done(&delivery.handler, &record.meta.object_hash);
            let message = Message::new(subject, record.recency.to_string());
            Ok::<_, StoreError>(Some(message.expect_revision(newest.revision)))
        });
        replacement.others = try_join_all(messages).await?.into_iter().flatten().collect();
        Ok(())
    }

    /// Returns whether the delivery is for the newest event of its object only, and the handler has
    /// done a newer one.
    ///
    /// Each completion also changes the object's open records. The answer is therefore current if
    /// the caller has read the last sequence of these records first, and then expects it in the
    /// write of the claim.
    pub(super) async fn is_outdated(
        &self,
        record: &Record,
        delivery: &Delivery,
    ) -> Result<bool, StoreError> {
        if delivery.order != Some(DeliveryOrder::NewestOnly) || record.recency == NO_TIME {
            return Ok(false);
        }
        Ok(self.newest_done(record, delivery).await?.recency > Some(record.recency))
    }

    async fn newest_done(
        &self,
        record: &Record,
        delivery: &Delivery,
    ) -> Result<NewestDone, StoreError> {
        let subject = self.subjects.newest_done(&delivery.handler, &record.meta.object_hash);
        let Some(message) = read::last(&self.stream, &subject).await? else {
            return Ok(NewestDone { recency: None, revision: 0 });
        };
        let recency = serde_json::from_slice(&message.payload).map_err(StoreError::corrupt)?;
        Ok(NewestDone { recency: Some(recency), revision: message.sequence })
    }
}
