//! The default: a memory that is bounded, and gone with the process.

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

/// Remembers in memory which handlers have finished which events: the default of a router.
///
/// It is bounded in number and size and forgets what is older than 72 hours, which is how long Stripe
/// tries again. **It is gone when the process ends**: an event that is delivered again after a
/// restart, or to another process, runs all of its handlers again. What is forgotten early, because
/// the memory is full, is counted (`stripe_webhook_completions_evicted_total`) and warned of once.
pub struct InMemoryCompletions {
    shards: Sharded<Shard>,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    entries: usize,
    bytes: usize,
    age: Duration,
}

/// Events in the order in which something of theirs was last remembered.
#[derive(Debug, Default)]
struct Shard {
    events: LinkedHashMap<EventKey, Entry>,
    bytes: usize,
    warned: bool,
}

#[derive(Debug)]
struct Entry {
    handlers: Vec<HandlerProgress>,
    since: Instant,
}

/// Below this many entries a shard, sharding would make the bound inexact and gain nothing.
const MIN_SHARD: usize = 1024;

const MAX_SHARDS: usize = 16;

impl InMemoryCompletions {
    /// A memory of 250,000 events and 64 MiB, whichever is reached first, for 72 hours.
    #[must_use]
    pub fn new() -> Self {
        let age = Duration::from_secs(72 * 60 * 60);
        Self::with_limits(Limits { entries: 250_000, bytes: 64 << 20, age }, Arc::new(SystemClock))
    }

    /// How many events it remembers.
    #[must_use]
    pub fn max_entries(self, entries: usize) -> Self {
        Self::with_limits(Limits { entries, ..self.limits }, self.clock)
    }

    /// How much it remembers, in bytes; an estimate of what it takes in memory.
    #[must_use]
    pub fn max_bytes(self, bytes: usize) -> Self {
        Self::with_limits(Limits { bytes, ..self.limits }, self.clock)
    }

    /// How long it remembers an event after the last delivery of it.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Self {
        Self::with_limits(Limits { age, ..self.limits }, self.clock)
    }

    /// Where time comes from; the machine's clock by default.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.shared_clock(Arc::new(clock))
    }

    pub(crate) fn shared_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(self.limits, clock)
    }

    /// How many events it remembers now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.all().map(|shard| shard.events.len()).sum()
    }

    /// Whether it remembers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with_limits(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let shards = (limits.entries / MIN_SHARD).clamp(1, MAX_SHARDS);
        Self { shards: Sharded::new(shards, Shard::default), limits, clock }
    }

    pub(crate) fn progress(&self, event: &EventKey) -> Vec<HandlerProgress> {
        let now = self.clock.monotonic();
        let shard = self.shards.of(event);
        let entry = shard.events.get(event).filter(|entry| !entry.is_over(self.limits.age, now));
        entry.map(|entry| entry.handlers.clone()).unwrap_or_default()
    }

    pub(crate) fn remember(&self, event: &EventKey, progress: HandlerProgress) {
        let now = self.clock.monotonic();
        self.shards.of(event).record(event, progress, self.shard_limits(), now);
    }

    /// The part of the limits that one shard has.
    fn shard_limits(&self) -> Limits {
        let share = |whole: usize| whole.div_ceil(self.shards.len());
        Limits {
            entries: share(self.limits.entries),
            bytes: share(self.limits.bytes),
            age: self.limits.age,
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
    async fn recall(&self, event: &EventKey) -> Result<Vec<HandlerProgress>, BoxError> {
        Ok(self.progress(event))
    }

    async fn record(&self, event: &EventKey, progress: HandlerProgress) -> Result<(), BoxError> {
        self.remember(event, progress);
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
        entry.since = now;
        entry.handlers.retain(|known| known.handler != progress.handler);
        entry.handlers.push(progress);
        self.bytes += entry.bytes(event);
        // At the end: the order is that of the last change.
        self.events.insert(event.clone(), entry);
        self.forget(limits, now);
    }

    fn forget(&mut self, limits: Limits, now: Instant) {
        while let Some((key, oldest)) = self.events.front() {
            let over = oldest.is_over(limits.age, now);
            let full = self.events.len() > limits.entries || self.bytes > limits.bytes;
            if !over && !full {
                return;
            }
            let key = key.clone();
            if !over {
                telemetry::completion_evicted();
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(
                        events = self.events.len(),
                        bytes = self.bytes,
                        "the memory of finished handlers is full and forgets events before their time: should Stripe \
                         send one of them again, its handlers run again; give the router a larger one with \
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
    fn new(since: Instant) -> Self {
        Self { handlers: Vec::with_capacity(1), since }
    }

    fn is_over(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > age
    }

    /// About what it takes: the parts, the map's links around them, and the allocations' own heads.
    fn bytes(&self, event: &EventKey) -> usize {
        const HEAD: usize = 16;
        let text = event.endpoint().len() + event.account().map_or(0, str::len) + event.id().len();
        let key = size_of::<EventKey>() + text + 2 * HEAD;
        let handlers = self.handlers.iter().map(|progress| {
            size_of::<HandlerProgress>()
                + match &progress.finished {
                    Some(Completion::Replied(reply)) => reply.len() + HEAD,
                    _ => 0,
                }
        });
        key + size_of::<Self>() + 4 * HEAD + handlers.sum::<usize>()
    }
}
