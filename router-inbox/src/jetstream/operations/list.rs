//! Lists deliveries, and unhandled events.

use super::{
    super::{
        Connection,
        record::{Record, Stage},
    },
    matches_type,
};
use crate::{
    StoreError,
    operations::{ListEntry, ListFilter},
    store::DeliveryState,
};

impl Connection {
    pub(super) async fn list(&self, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError> {
        let mut listed = Vec::new();
        for stage in stages(filter) {
            for record in self.records_in(*stage).await? {
                if matches_event(filter, &record) {
                    self.list_record(filter, &record, &mut listed);
                }
            }
        }
        listed.sort_unstable_by_key(|listed| -listed.number);
        listed.truncate(filter.limit);
        Ok(listed)
    }

    fn list_record(&self, filter: &ListFilter, record: &Record, listed: &mut Vec<ListEntry>) {
        let is_before = |number: i64| filter.before.is_none_or(|before| number < before);
        if filter.unhandled {
            let (number, event) = (record.list_number(0), record.meta.summary());
            listed.extend(is_before(number).then_some(ListEntry { number, event, delivery: None }));
            return;
        }
        for (index, delivery) in record.deliveries.iter().enumerate() {
            let number = record.list_number(index);
            let is_listed = is_before(number)
                && (filter.states.is_empty() || filter.states.contains(&delivery.state))
                && filter.handler.as_ref().is_none_or(|handler| **handler == *delivery.handler);
            if is_listed {
                let mirror = self.mirror.get();
                let is_blocked = delivery.is_open()
                    && mirror.is_some_and(|mirror| mirror.records().is_blocked(record, index));
                let delivery = Some(delivery.summary(is_blocked));
                listed.push(ListEntry { number, event: record.meta.summary(), delivery });
            }
        }
    }
}

/// Returns the stages whose records can match the filter.
fn stages(filter: &ListFilter) -> &'static [Stage] {
    if filter.unhandled {
        return &[Stage::Unhandled];
    }
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

fn matches_event(filter: &ListFilter, record: &Record) -> bool {
    filter.object.as_ref().is_none_or(|object| *object == record.meta.object)
        && matches_type(filter.event_type.as_deref(), &record.meta.event_type)
}
