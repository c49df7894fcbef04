//! Erasing the data of events.

use std::time::SystemTime;

use super::Rows;
use crate::{
    operations::{EraseOutcome, EraseResult},
    store::DeliveryState,
};

impl Rows {
    pub(super) fn erase(&mut self, number: i64, now: SystemTime) -> EraseResult {
        let Some(event) = self.events.get(&number) else { return EraseResult::not_found() };
        let (is_erased, event_id) = (event.is_erased(), event.summary.id.clone());
        let generations = self.generations(number);
        let mut deliveries: Vec<_> =
            self.deliveries.values_mut().filter(|row| generations.contains(&row.event)).collect();
        let outcome = EraseOutcome::new(deliveries.iter().map(|row| row.state), is_erased);
        if outcome != EraseOutcome::Erased {
            return EraseResult::new(event_id, outcome);
        }
        for row in &mut deliveries {
            row.received.payload.clear();
            (row.received_since, row.error) = (None, None);
            for attempt in &mut row.history {
                attempt.error = None;
            }
            if row.state == DeliveryState::Dead {
                (row.state, row.ended_at) = (DeliveryState::Discarded, Some(now));
            }
        }
        for number in &generations {
            let event = self.events.get_mut(number).expect("generation exists");
            for received in [&mut event.stored].into_iter().chain(&mut event.redelivered) {
                received.payload.clear();
            }
        }
        EraseResult::new(event_id, outcome)
    }
}
