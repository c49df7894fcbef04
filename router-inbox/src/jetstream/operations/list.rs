//! Lists of deliveries, and of events that no handler was for.

use super::{
    super::{
        Connection,
        record::{Record, Stage},
    },
    is_of_type,
};
use crate::{
    DeliveryState, StoreError,
    operations::{ListEntry, ListFilter},
};

impl Connection {
    pub(super) async fn list(&self, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError> {
        let mut listed = Vec::new();
        for stage in stages(filter) {
            for record in self.records_in(*stage).await? {
                if is_of(filter, &record) {
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
            let (number, event) = (record.number_of(0), record.about.listed());
            listed.extend(is_before(number).then_some(ListEntry { number, event, delivery: None }));
            return;
        }
        for (at, row) in record.deliveries.iter().enumerate() {
            let number = record.number_of(at);
            let is_listed = is_before(number)
                && (filter.states.is_empty() || filter.states.contains(&row.state))
                && filter.handler.as_ref().is_none_or(|handler| **handler == *row.handler);
            if is_listed {
                let mirror = self.mirror.get();
                let is_blocked = row.is_open()
                    && mirror.is_some_and(|known| known.open().is_blocked(record, at));
                let delivery = Some(row.listed(is_blocked));
                listed.push(ListEntry { number, event: record.about.listed(), delivery });
            }
        }
    }
}

/// Where there can be any.
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

fn is_of(filter: &ListFilter, record: &Record) -> bool {
    filter.object.as_ref().is_none_or(|object| *object == record.about.object)
        && is_of_type(filter.event_type.as_deref(), &record.about.event_type)
}
