//! [`ManualClock`], a clock that a test moves.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::clock::{Clock, Sleep, SystemClock};

/// A clock that moves only when a test advances it. Clones share the same time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    start: Instant,
    wall: SystemTime,
    elapsed: Arc<watch::Sender<Duration>>,
}

impl ManualClock {
    /// Creates a clock that shows this time of day.
    #[must_use]
    pub fn at(wall: SystemTime) -> Self {
        let elapsed = Arc::new(watch::Sender::new(Duration::ZERO));
        Self { start: SystemClock.monotonic(), wall, elapsed }
    }

    /// Advances the clock, and wakes the sleepers whose deadline is reached.
    pub fn advance(&self, by: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }

    /// Waits until at least one task sleeps on this clock, so that advancing it will wake the task.
    pub async fn wait_for_sleeper(&self) {
        self.wait_for_sleepers(1).await;
    }

    /// Waits until at least this many sleepers wait on this clock at once.
    pub async fn wait_for_sleepers(&self, sleepers: usize) {
        // Polls, because a new subscription is the only sign of a sleeper and causes no
        // notification.
        while self.elapsed.receiver_count() < sleepers {
            tokio::task::yield_now().await;
        }
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> SystemTime {
        self.wall + *self.elapsed.borrow()
    }

    fn monotonic(&self) -> Instant {
        self.start + *self.elapsed.borrow()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        let (start, mut elapsed) = (self.start, self.elapsed.subscribe());
        let clock = self.clone();
        Box::pin(async move {
            // Keeps the sender alive; `wait_for` would return early without one.
            let _clock = clock;
            drop(elapsed.wait_for(|elapsed| start + *elapsed >= deadline).await);
        })
    }
}
