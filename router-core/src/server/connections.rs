//! The open connections of a server. Beyond the maximum, each new connection closes the one that
//! has been idle for longest. If none is idle, those without an event for longest are closed once
//! their requests in flight are answered.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, atomic::Ordering},
};

use tokio::task::{Id, JoinSet};

use super::activity::{Activity, IdleSignal};
use crate::clock::Clock;

pub(super) struct Connections {
    max: usize,
    clock: Arc<dyn Clock>,
    /// Dropping it aborts all connections.
    tasks: JoinSet<()>,
    activities: HashMap<Id, Arc<Activity>>,
    idle: Arc<IdleSignal>,
    /// `true` from the time at which all connections are in use until a quarter of them is free.
    is_full: bool,
}

impl Connections {
    pub(super) fn new(max: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            max,
            clock,
            tasks: JoinSet::new(),
            activities: HashMap::new(),
            idle: Arc::default(),
            is_full: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Returns the number of requests that are not answered yet.
    pub(super) fn requests_in_flight(&self) -> usize {
        self.activities.values().map(|activity| activity.in_flight()).sum()
    }

    /// Spawns the task of a connection.
    pub(super) fn spawn<F>(&mut self, serve: impl FnOnce(Arc<Activity>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let activity = Arc::new(Activity::new(self.clock.clone(), self.idle.clone()));
        let task = self.tasks.spawn(serve(activity.clone()));
        self.activities.insert(task.id(), activity);
    }

    /// Waits for the next connection to end. Returns `None` if there is none. Cancel safe.
    pub(super) async fn next_ended(&mut self) -> Option<()> {
        let id = match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => id,
            Err(panicked) => panicked.id(),
        };
        self.activities.remove(&id);
        if self.is_full && self.len() <= self.max / 4 * 3 {
            self.is_full = false;
            tracing::info!(connections = self.len(), "a quarter of the connections is free again");
        }
        Some(())
    }

    /// Waits until one more connection is allowed. If all are in use, closes others. Cancel safe.
    pub(super) async fn free_slot(&mut self) {
        if self.len() < self.max {
            return;
        }
        if !self.is_full {
            self.is_full = true;
            tracing::warn!(
                max = self.max,
                "all connections are in use; a new one waits until another is closed: the one that \
                 has been idle for longest or, if none is idle, those without an authentic event \
                 for longest, once their requests are answered; `Server::max_connections` sets \
                 this limit"
            );
        }
        let idle = self.idle.clone();
        idle.is_wanted.store(true, Ordering::Relaxed);
        while self.len() >= self.max {
            // `notify_one` stores a permit, so a connection that becomes idle during the search is
            // noticed.
            let became_idle = idle.notify.notified();
            self.evict();
            tokio::select! {
                _ = self.next_ended() => {}
                () = became_idle => {}
            }
        }
        idle.is_wanted.store(false, Ordering::Relaxed);
    }

    /// Closes the connection that has been idle for longest, unless another one is already ending.
    ///
    /// If none is idle, closes a quarter of the connections once their requests are answered: those
    /// without an authentic event for longest. A client can keep a connection busy forever with
    /// slow bodies, of which each takes up to the body timeout. One connection at a time would
    /// therefore free too few.
    fn evict(&self) {
        if self.activities.values().any(|activity| activity.is_ending()) {
            return;
        }
        let idle = self
            .activities
            .values()
            .filter_map(|activity| activity.idle_since().map(|idle_since| (idle_since, activity)));
        if let Some((_, activity)) = idle.min_by_key(|(idle_since, _)| *idle_since) {
            activity.evict();
            return;
        }
        let closing = self.activities.values().filter(|activity| activity.is_closing()).count();
        let mut busy: Vec<_> = self
            .activities
            .values()
            .filter_map(|activity| activity.busy_since().map(|since| (since, activity)))
            .collect();
        busy.sort_unstable_by_key(|(since, _)| *since);
        for (_, activity) in busy.iter().take(self.max.div_ceil(4).saturating_sub(closing)) {
            activity.evict();
        }
    }
}
