//! A map of locks that holds only the locks in use.

use std::{collections::HashMap, fmt, hash::Hash, sync::Arc};

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::sharded::{Hasher, Sharded};

/// A fair async mutex for each key.
pub(super) struct KeyedLock<K>(Arc<Sharded<Locks<K>>>);

type Locks<K> = HashMap<K, Arc<Mutex<()>>, Hasher>;

/// Holds the lock of a key until it is dropped.
pub(super) struct KeyGuard<K: Eq + Hash> {
    // Declared, and so dropped, before the reference: the guard holds a clone of the lock, which
    // `LockRef::drop` would count.
    _guard: OwnedMutexGuard<()>,
    _lock_ref: LockRef<K>,
}

/// A reference to a key's lock by a holder or a waiter. Dropping the last one removes the lock from
/// the map.
struct LockRef<K: Eq + Hash> {
    locks: Arc<Sharded<Locks<K>>>,
    key: K,
    lock: Arc<Mutex<()>>,
}

impl<K: Clone + Eq + Hash> KeyedLock<K> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Sharded::new(16, Locks::default)))
    }

    /// Acquires the lock of this key, in first-come, first-served order.
    ///
    /// Cancel safe, but a canceled waiter loses its place in the queue.
    pub(super) async fn lock(&self, key: K) -> KeyGuard<K> {
        let lock = self.0.lock(&key).entry(key.clone()).or_default().clone();
        let lock_ref = LockRef { locks: self.0.clone(), key, lock };
        KeyGuard { _guard: lock_ref.lock.clone().lock_owned().await, _lock_ref: lock_ref }
    }
}

impl<K> Clone for KeyedLock<K> {
    /// Returns a reference to the same locks.
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Eq + Hash> Drop for LockRef<K> {
    fn drop(&mut self) {
        let mut locks = self.locks.lock(&self.key);
        // The map and this reference have one clone each; every other holder or waiter has at least
        // one more. New clones are only made under the shard's lock, which is held here.
        if Arc::strong_count(&self.lock) <= 2 {
            locks.remove(&self.key);
        }
    }
}

impl<K> fmt::Debug for KeyedLock<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLock").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn lock_count(locks: &KeyedLock<u8>) -> usize {
        locks.0.lock_each().map(|shard| shard.len()).sum()
    }

    #[test]
    fn lock_excludes_holders_of_the_same_key_only() {
        let locks = KeyedLock::new();
        let Poll::Ready(first) = poll(pin!(locks.lock(1))) else { panic!("the lock is free") };
        let mut second = pin!(locks.lock(1));
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(pin!(locks.lock(2))).is_ready());
        drop(first);
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn lock_is_removed_after_last_holder_or_waiter() {
        let locks = KeyedLock::new();
        {
            let held = poll(pin!(locks.lock(1)));
            let mut canceled = Box::pin(locks.lock(1));
            assert!(poll(canceled.as_mut()).is_pending());
            drop(canceled);
            assert_eq!(lock_count(&locks), 1, "the lock is still held");
            let mut waiting = Box::pin(locks.lock(1));
            assert!(poll(waiting.as_mut()).is_pending());
            drop(held);
            assert_eq!(lock_count(&locks), 1, "a waiter remains");
            assert!(poll(waiting.as_mut()).is_ready());
        }
        assert_eq!(lock_count(&locks), 0);
    }
}
