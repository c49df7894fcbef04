//! A value behind many locks instead of one, so that events which have nothing to do with each other
//! do not wait for each other.

use std::{
    hash::{BuildHasher as _, Hash},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What is hashed comes from verified events, so nobody who would choose keys that collide can: a hash
/// that is quick will do.
pub(crate) type Hasher = foldhash::fast::RandomState;

/// As many `T`s as there are shards, each behind a lock of its own. A lock is held for one operation,
/// never across an await.
#[derive(Debug)]
pub(crate) struct Sharded<T> {
    shards: Box<[Shard<T>]>,
    hasher: Hasher,
}

/// In a cache line of its own (of two: processors fetch them in pairs), or a core that locks one would take
/// its neighbours from the other cores.
#[derive(Debug)]
#[repr(align(128))]
struct Shard<T>(Mutex<T>);

impl<T> Sharded<T> {
    /// `make` makes each shard.
    pub(crate) fn new(shards: usize, make: impl Fn() -> T) -> Self {
        let shards = (0..shards.max(1)).map(|_| Shard(Mutex::new(make()))).collect();
        Self { shards, hasher: Hasher::default() }
    }

    /// The shard in which everything about this key is.
    pub(crate) fn of(&self, key: &impl Hash) -> MutexGuard<'_, T> {
        let hash = self.hasher.hash_one(key) as usize;
        Self::lock(&self.shards[hash % self.shards.len()])
    }

    /// How many shards there are.
    pub(crate) fn len(&self) -> usize {
        self.shards.len()
    }

    /// Every shard, one after the other.
    pub(crate) fn all(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(Self::lock)
    }

    fn lock(shard: &Shard<T>) -> MutexGuard<'_, T> {
        // Nothing under these locks leaves a shard half changed.
        shard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
