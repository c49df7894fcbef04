//! Claims due deliveries.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use router_core::Event;

use super::{Row, Rows, time_after};
use crate::store::{Claim, ClaimRequest, DeliveryState, Lease};

impl Rows {
    pub(super) fn claim(&mut self, request: &ClaimRequest, now: SystemTime) -> Vec<Claim> {
        let mut handlers = request.handlers.clone();
        let mut due: Vec<i64> =
            self.deliveries.keys().copied().filter(|number| self.is_due(*number, now)).collect();
        due.sort_by_key(|number| (self.deliveries[number].due, *number));
        let mut claims = BTreeMap::new();
        while claims.len() < request.limit {
            let handler_of = |number: i64| {
                let handler = &self.deliveries[&number].handler;
                handlers.iter().position(|slots| slots.handler == *handler && slots.free > 0)
            };
            let claimable = due.iter().enumerate().filter_map(|(index, number)| {
                // Checked again, because a delivery of the same lane may just have been claimed.
                let is_claimable = !claims.contains_key(&index) && self.is_unblocked(*number);
                Some((index, handler_of(*number).filter(|_| is_claimable)?))
            });
            let next =
                claimable.min_by_key(|(index, handler)| (handlers[*handler].in_flight, *index));
            let Some((index, handler)) = next else { break };
            let slots = &mut handlers[handler];
            (slots.free, slots.in_flight) = (slots.free - 1, slots.in_flight + 1);
            claims.insert(index, self.lease(due[index], request, now));
        }
        claims.into_values().collect()
    }

    pub(super) fn is_due(&self, number: i64, now: SystemTime) -> bool {
        let row = &self.deliveries[&number];
        row.is_open() && row.due <= now && self.is_unblocked(number)
    }

    /// Returns the time since the first of the handler's claimable deliveries became due.
    pub(super) fn oldest_due(&self, handler: &str, now: SystemTime) -> Option<Duration> {
        let rows = self.deliveries.iter().filter(|(_, row)| *row.handler == *handler);
        let due = rows.filter(|(number, _)| self.is_due(**number, now));
        due.filter_map(|(_, row)| now.duration_since(row.due).ok()).max()
    }

    /// Returns whether no other delivery of its lane blocks this one.
    pub(super) fn is_unblocked(&self, number: i64) -> bool {
        let row = &self.deliveries[&number];
        let Some((object, position)) = &row.lane else { return true };
        // A running delivery is the one that blocks its lane.
        if row.state == DeliveryState::Running {
            return true;
        }
        let mut others = self.deliveries.iter().filter(|(other_number, other)| {
            **other_number != number && other.is_open() && other.handler == row.handler
        });
        !others.any(|(other_number, other)| {
            other.lane.as_ref().is_some_and(|(other_object, other_position)| {
                let is_running = other.state == DeliveryState::Running;
                let is_first = (other_position, *other_number) < (position, number);
                other_object == object && (is_running || is_first)
            })
        })
    }

    fn lease(&mut self, number: i64, request: &ClaimRequest, now: SystemTime) -> Claim {
        let row = self.deliveries.get_mut(&number).expect("delivery exists");
        let lease_expired = row.state == DeliveryState::Running;
        if !lease_expired {
            row.attempts += 1;
            row.start_attempt(now, request.worker.clone());
        }
        (row.state, row.token) = (DeliveryState::Running, row.token + 1);
        row.due = time_after(now, request.lease);
        let row = &self.deliveries[&number];
        let event = Event::from_store(row.received.clone());
        let event_id = event.as_ref().map_or("damaged", Event::id).into();
        let (handler, token) = (row.handler.clone(), row.token);
        let lease = Lease { delivery: number, handler, event_id, token };
        Claim::new(lease, event, row.attempts)
            .delayed(row.delayed)
            .trace_parent(self.events[&row.event].trace_parent.clone())
            .lease_expired(lease_expired)
            .outdated(self.is_outdated(row))
    }

    pub(super) fn held(&mut self, lease: &Lease) -> Option<&mut Row> {
        let row = self.deliveries.get_mut(&lease.delivery)?;
        (row.state == DeliveryState::Running && row.token == lease.token).then_some(row)
    }
}
