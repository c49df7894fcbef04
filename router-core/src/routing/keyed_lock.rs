//! A lock for each object, there for as long as somebody wants it.

use std::{collections::HashMap, fmt, hash::Hash, sync::Arc};

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::sharded::Sharded;

/// A lock for each key.
pub(super) struct KeyedLock<K>(Arc<Sharded<Locks<K>>>);

type Locks<K> = HashMap<K, Arc<Mutex<()>>>;

/// The lock of one key is held.
pub(super) struct Held<K: Eq + Hash> {
    // Before the ticket, whose drop counts who is left.
    _guard: OwnedMutexGuard<()>,
    _ticket: Ticket<K>,
}

/// Somebody holds the lock of a key or waits for it. The last one takes the lock out of the map.
struct Ticket<K: Eq + Hash> {
    locks: Arc<Sharded<Locks<K>>>,
    key: K,
    lock: Arc<Mutex<()>>,
}

impl<K: Clone + Eq + Hash> KeyedLock<K> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Sharded::new(16, Locks::new)))
    }

    /// Waits until nobody holds the lock of this key; who has waited longest is next.
    pub(super) async fn lock(&self, key: K) -> Held<K> {
        let lock = self.0.of(&key).entry(key.clone()).or_default().clone();
        let ticket = Ticket { locks: self.0.clone(), key, lock };
        Held { _guard: ticket.lock.clone().lock_owned().await, _ticket: ticket }
    }
}

impl<K: Eq + Hash> Drop for Ticket<K> {
    fn drop(&mut self) {
        let mut locks = self.locks.of(&self.key);
        // The map's and ours: every other holder and waiter has a ticket, and so one more.
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

    fn left_behind(locks: &KeyedLock<u8>) -> usize {
        locks.0.all().map(|shard| shard.len()).sum()
    }

    #[test]
    fn one_key_is_held_once_and_others_do_not_wait() {
        let locks = KeyedLock::new();
        let Poll::Ready(first) = poll(pin!(locks.lock(1))) else { panic!("nobody holds it") };
        let mut second = pin!(locks.lock(1));
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(pin!(locks.lock(2))).is_ready());
        drop(first);
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn nothing_is_left_behind_by_holders_or_by_those_who_gave_up_waiting() {
        let locks = KeyedLock::new();
        {
            let held = poll(pin!(locks.lock(1)));
            let mut gave_up = Box::pin(locks.lock(1));
            assert!(poll(gave_up.as_mut()).is_pending());
            drop(gave_up);
            assert_eq!(left_behind(&locks), 1, "one still holds it");
            let mut waiting = Box::pin(locks.lock(1));
            assert!(poll(waiting.as_mut()).is_pending());
            drop(held);
            assert_eq!(left_behind(&locks), 1, "one still waits for it");
            assert!(poll(waiting.as_mut()).is_ready());
        }
        assert_eq!(left_behind(&locks), 0);
    }
}
