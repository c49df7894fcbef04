//! Lists deliveries, and unhandled events.

use super::{
    super::{
        Connection,
        record::{Delivery, Record, Stage},
    },
    matches_type,
};
use crate::{
    StoreError,
    operations::{ListEntry, ListFilter, SelectedDelivery},
    store::{DeliveryState, millis::millis},
};

impl Connection {
    pub(super) async fn list(&self, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError> {
        if filter.unhandled {
            return self.unhandled(filter).await;
        }
        if filter.event_id.is_some() {
            // Loads the local view, which knows the blocked deliveries. Without an id, the local
            // view is loaded to read the open records.
            self.mirror().await?;
        }
        self.matching(filter, |record, index, number| {
            let delivery = &record.deliveries[index];
            let mirror = self.mirror.get();
            let is_blocked = delivery.is_open()
                && mirror.is_some_and(|mirror| mirror.records().is_blocked(record, index));
            let delivery = Some(delivery.summary(is_blocked));
            ListEntry { number, event: record.meta.summary(), delivery }
        })
        .await
    }

    /// Returns the deliveries that match the filter, oldest first.
    pub(super) async fn select_deliveries(
        &self,
        filter: &ListFilter,
    ) -> Result<Vec<SelectedDelivery>, StoreError> {
        if filter.unhandled {
            return Ok(Vec::new());
        }
        let mut selected = self
            .matching(filter, |Record { meta, deliveries, .. }, index, number| {
                let delivery = &deliveries[index];
                SelectedDelivery {
                    number,
                    token: delivery.token,
                    event_id: meta.id.clone(),
                    endpoint: meta.endpoint.clone(),
                    account: meta.account.clone(),
                    generation: meta.generation,
                    handler: delivery.handler.clone(),
                    state: delivery.state,
                    attempts: delivery.attempts,
                }
            })
            .await?;
        selected.reverse();
        Ok(selected)
    }

    async fn unhandled(&self, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError> {
        let is_before = |number: i64| filter.before.is_none_or(|before| number < before);
        let now = self.time.now();
        let records = self.records_to_list(filter, &[Stage::Unhandled]).await?;
        let matching = records.iter().filter(|record| matches_event(filter, record, now));
        let entries = matching.map(|record| {
            let (number, event) = (record.list_number(0), record.meta.summary());
            ListEntry { number, event, delivery: None }
        });
        let mut listed: Vec<_> = entries.filter(|entry| is_before(entry.number)).collect();
        listed.sort_unstable_by_key(|entry| -entry.number);
        listed.truncate(filter.limit);
        Ok(listed)
    }

    /// Returns an entry for each delivery that matches the filter, newest first. `entry` creates it
    /// from the record, the delivery's index in the record, and the delivery's number.
    async fn matching<E: Send>(
        &self,
        filter: &ListFilter,
        entry: impl Fn(&Record, usize, i64) -> E + Send,
    ) -> Result<Vec<E>, StoreError> {
        let now = self.time.now();
        let mut matching = Vec::new();
        for record in self.records_to_list(filter, stages(filter)).await? {
            if !matches_event(filter, &record, now) {
                continue;
            }
            for (index, delivery) in record.deliveries.iter().enumerate() {
                let number = record.list_number(index);
                if matches_delivery(filter, delivery, number, now) {
                    matching.push((number, entry(&record, index, number)));
                }
            }
        }
        matching.sort_by_key(|(number, _)| -number);
        // A record that moves between two stages while they are read can be found at both.
        matching.dedup_by_key(|(number, _)| *number);
        matching.truncate(filter.limit);
        Ok(matching.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Returns the records of the events with the filter's id, or those at these stages.
    async fn records_to_list(
        &self,
        filter: &ListFilter,
        stages: &[Stage],
    ) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        if let Some(id) = &filter.event_id {
            let found = self.records_with_id(id).await?.records;
            let found = found.iter().map(|base| (*base.record).clone());
            records.extend(found.filter(|record| stages.contains(&record.stage())));
            return Ok(records);
        }
        for stage in stages {
            records.extend(self.records_in(*stage).await?);
        }
        Ok(records)
    }
}

/// Returns the stages whose records can match the filter.
fn stages(filter: &ListFilter) -> &'static [Stage] {
    let only = |states: &[DeliveryState]| {
        !filter.states.is_empty() && filter.states.iter().all(|state| states.contains(state))
    };
    if only(&[DeliveryState::Waiting, DeliveryState::Running]) {
        &[Stage::Open]
    } else if only(&[DeliveryState::Waiting, DeliveryState::Running, DeliveryState::Dead]) {
        &[Stage::Open, Stage::Dead]
    } else {
        &[Stage::Open, Stage::Dead, Stage::Ended]
    }
}

fn matches_event(filter: &ListFilter, record: &Record, now: i64) -> bool {
    let is_young = |age| record.meta.stored_at >= now.saturating_sub(millis(age));
    filter.object.as_ref().is_none_or(|object| *object == record.meta.object)
        && matches_type(filter.event_type.as_deref(), &record.meta.event_type)
        && filter.max_age.is_none_or(is_young)
}

fn matches_delivery(filter: &ListFilter, delivery: &Delivery, number: i64, now: i64) -> bool {
    let has_text =
        |text: &String| delivery.error.as_ref().is_some_and(|error| error.contains(text));
    let has_ended =
        |age| delivery.ended_at.is_some_and(|ended_at| ended_at <= now.saturating_sub(millis(age)));
    filter.before.is_none_or(|before| number < before)
        && (filter.states.is_empty() || filter.states.contains(&delivery.state))
        && filter.handler.as_ref().is_none_or(|handler| **handler == *delivery.handler)
        && filter.error.as_ref().is_none_or(has_text)
        && filter.min_ended_age.is_none_or(has_ended)
}
