//! A value split over many locks, so that unrelated events do not contend for one lock.

use std::{
    hash::{BuildHasher as _, Hash},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A fast hasher without protection against chosen keys. The keys come from verified events, so a
/// client cannot choose colliding ones.
pub(crate) type Hasher = foldhash::fast::RandomState;

/// One `T` per shard, each behind its own lock. A lock is held for one operation, and never across
/// an await.
#[derive(Debug)]
pub(crate) struct Sharded<T> {
    shards: Box<[Shard<T>]>,
    hasher: Hasher,
}

/// One shard, aligned to 128 bytes so that shards share no cache line (processors fetch lines of 64
/// bytes in pairs). Otherwise locking a shard would evict its neighbors from other cores' caches.
#[derive(Debug)]
#[repr(align(128))]
struct Shard<T>(Mutex<T>);

impl<T> Sharded<T> {
    /// Creates the shards with `make`. There is at least one.
    pub(crate) fn new(shards: usize, make: impl Fn() -> T) -> Self {
        let shards = (0..shards.max(1)).map(|_| Shard(Mutex::new(make()))).collect();
        Self { shards, hasher: Hasher::default() }
    }

    /// Locks the shard that the key belongs to.
    pub(crate) fn lock(&self, key: &impl Hash) -> MutexGuard<'_, T> {
        let hash = self.hasher.hash_one(key) as usize;
        Self::lock_shard(&self.shards[hash % self.shards.len()])
    }

    /// Returns the number of shards.
    pub(crate) fn len(&self) -> usize {
        self.shards.len()
    }

    /// Locks each shard in turn.
    pub(crate) fn lock_each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(Self::lock_shard)
    }

    fn lock_shard(shard: &Shard<T>) -> MutexGuard<'_, T> {
        // A poisoned lock is still usable: no code under these locks can leave a shard half
        // changed.
        shard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
