//! The default completion store: bounded, in memory.

use std::{fmt, sync::Arc, time::Duration, time::Instant};

use async_trait::async_trait;
use hashlink::LinkedHashMap;

use super::{Completion, CompletionStore, HandlerProgress};
use crate::{
    clock::{Clock, SystemClock},
    event::EventKey,
    handler::BoxError,
    sharded::Sharded,
    telemetry,
};

/// An in-memory store of which handlers have finished which events; the default of a router.
///
/// It is bounded in the number of events and in bytes. Entries expire after 72 hours, the time for
/// which Stripe redelivers an event. **Its contents are lost when the process ends**: an event
/// redelivered after a restart, or to another process, runs all its handlers again.
///
/// When the store is full, it evicts the oldest entries before they expire. Evictions are counted
/// (`stripe_webhook_completions_evicted_total`), and the first ones are logged as a warning.
pub struct InMemoryCompletions {
    shards: Sharded<Shard>,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    entries: usize,
    bytes: usize,
    max_age: Duration,
}

/// A shard's events, ordered by their last update, oldest first.
#[derive(Debug, Default)]
struct Shard {
    events: LinkedHashMap<EventKey, Entry>,
    bytes: usize,
    warned: bool,
}

#[derive(Debug)]
struct Entry {
    handlers: Vec<HandlerProgress>,
    updated_at: Instant,
}

/// The minimum number of entries per shard.
///
/// The limits are divided among the shards, so small shards would make them inexact, without less
/// lock contention in return.
const MIN_SHARD_ENTRIES: usize = 1024;

const MAX_SHARDS: usize = 16;

impl InMemoryCompletions {
    /// Creates a store for up to 250,000 events or 64 MiB, whichever is reached first, for 72
    /// hours.
    #[must_use]
    pub fn new() -> Self {
        let max_age = Duration::from_secs(72 * 60 * 60);
        let limits = Limits { entries: 250_000, bytes: 64 << 20, max_age };
        Self::with_limits(limits, Arc::new(SystemClock))
    }

    /// Sets the maximum number of events. Default: 250,000.
    #[must_use]
    pub fn max_entries(self, entries: usize) -> Self {
        Self::with_limits(Limits { entries, ..self.limits }, self.clock)
    }

    /// Sets the maximum memory use in bytes, which is estimated. Default: 64 MiB.
    #[must_use]
    pub fn max_bytes(self, bytes: usize) -> Self {
        Self::with_limits(Limits { bytes, ..self.limits }, self.clock)
    }

    /// Sets the time after which an event expires, counted from the last time that one of its
    /// handlers ran. Default: 72 hours.
    #[must_use]
    pub fn max_age(self, max_age: Duration) -> Self {
        Self::with_limits(Limits { max_age, ..self.limits }, self.clock)
    }

    /// Sets the clock. Default: the system clock.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.shared_clock(Arc::new(clock))
    }

    pub(crate) fn shared_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(self.limits, clock)
    }

    /// Returns the current number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.lock_each().map(|shard| shard.events.len()).sum()
    }

    /// Returns whether the store is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with_limits(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let shards = (limits.entries / MIN_SHARD_ENTRIES).clamp(1, MAX_SHARDS);
        Self { shards: Sharded::new(shards, Shard::default), limits, clock }
    }

    pub(crate) fn load_progress(&self, event: &EventKey) -> Vec<HandlerProgress> {
        let now = self.clock.monotonic();
        let shard = self.shards.lock(event);
        let entry =
            shard.events.get(event).filter(|entry| !entry.is_expired(self.limits.max_age, now));
        entry.map(|entry| entry.handlers.clone()).unwrap_or_default()
    }

    pub(crate) fn store_progress(&self, event: &EventKey, progress: HandlerProgress) {
        let now = self.clock.monotonic();
        self.shards.lock(event).record(event, progress, self.shard_limits(), now);
    }

    /// Returns one shard's share of the limits.
    fn shard_limits(&self) -> Limits {
        let share = |total: usize| total.div_ceil(self.shards.len());
        Limits {
            entries: share(self.limits.entries),
            bytes: share(self.limits.bytes),
            max_age: self.limits.max_age,
        }
    }
}

impl fmt::Debug for InMemoryCompletions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, limits) = (self.len(), &self.limits);
        f.debug_struct("InMemoryCompletions").field("len", &len).field("limits", limits).finish()
    }
}

impl Default for InMemoryCompletions {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl CompletionStore for InMemoryCompletions {
    async fn load(&self, event: &EventKey) -> Result<Vec<HandlerProgress>, BoxError> {
        Ok(self.load_progress(event))
    }

    async fn record(&self, event: &EventKey, progress: HandlerProgress) -> Result<(), BoxError> {
        self.store_progress(event, progress);
        Ok(())
    }
}

impl Shard {
    fn record(
        &mut self,
        event: &EventKey,
        progress: HandlerProgress,
        limits: Limits,
        now: Instant,
    ) {
        let mut entry = self.remove(event).unwrap_or_else(|| Entry::new(now));
        entry.updated_at = now;
        entry.handlers.retain(|known| known.handler != progress.handler);
        entry.handlers.push(progress);
        self.bytes += entry.bytes(event);
        // Inserting moves the event to the end, so the map stays ordered by the last update.
        self.events.insert(event.clone(), entry);
        self.evict(limits, now);
    }

    /// Removes expired entries, and the oldest ones while the shard exceeds its limits.
    fn evict(&mut self, limits: Limits, now: Instant) {
        while let Some((key, oldest)) = self.events.front() {
            let expired = oldest.is_expired(limits.max_age, now);
            let full = self.events.len() > limits.entries || self.bytes > limits.bytes;
            if !expired && !full {
                return;
            }
            let key = key.clone();
            if !expired {
                telemetry::completion_evicted();
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(
                        events = self.events.len(),
                        bytes = self.bytes,
                        "completion store is full and evicts events before they expire; the handlers of an evicted \
                         event run again if Stripe redelivers it; raise the limits with \
                         `.completions(InMemoryCompletions::new().max_entries(…).max_bytes(…))`"
                    );
                }
            }
            self.remove(&key);
        }
    }

    fn remove(&mut self, event: &EventKey) -> Option<Entry> {
        let entry = self.events.remove(event)?;
        self.bytes -= entry.bytes(event);
        Some(entry)
    }
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self { handlers: Vec::with_capacity(1), updated_at: now }
    }

    fn is_expired(&self, max_age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.updated_at) > max_age
    }

    /// Estimates the memory use: the parts, the map's links, and the allocator's overhead.
    fn bytes(&self, event: &EventKey) -> usize {
        /// Overhead per allocation.
        const ALLOCATION: usize = 16;
        let parts = [event.endpoint(), event.account().unwrap_or_default(), event.id()];
        let text = parts.map(str::len).iter().sum::<usize>() + event.event_type().len();
        let key = size_of::<EventKey>() + text + 2 * ALLOCATION;
        let handlers = self.handlers.iter().map(|progress| {
            size_of::<HandlerProgress>()
                + match &progress.completion {
                    Some(Completion::Replied(reply)) => reply.len() + ALLOCATION,
                    _ => 0,
                }
        });
        key + size_of::<Self>() + 4 * ALLOCATION + handlers.sum::<usize>()
    }
}
