//! [`ManualClock`], a clock that a test moves.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::clock::{Clock, Sleep, SystemClock};

/// A clock that moves only when a test advances it. Clones share the same time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    start: Instant,
    /// The time of day at the start, plus the jumps since then.
    wall: Arc<Mutex<SystemTime>>,
    elapsed: Arc<watch::Sender<Duration>>,
}

impl ManualClock {
    /// Creates a clock that shows this time of day.
    #[must_use]
    pub fn at(wall: SystemTime) -> Self {
        let elapsed = Arc::new(watch::Sender::new(Duration::ZERO));
        Self { start: SystemClock.monotonic(), wall: Arc::new(Mutex::new(wall)), elapsed }
    }

    /// Advances the clock, and wakes the sleepers whose deadline is reached.
    pub fn advance(&self, by: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }

    /// Sets the time of day forward, as an operator or NTP may do. The monotonic time is unchanged.
    pub fn set_forward(&self, by: Duration) {
        *self.wall.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// Sets the time of day back. The monotonic time is unchanged.
    pub fn set_back(&self, by: Duration) {
        *self.wall.lock().unwrap_or_else(PoisonError::into_inner) -= by;
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
        let wall = *self.wall.lock().unwrap_or_else(PoisonError::into_inner);
        wall + *self.elapsed.borrow()
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
