//! A clock that the test moves.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::clock::{Clock, Sleep, SystemClock};

/// A clock that stands still until it is moved. Clones are one clock.
#[derive(Debug, Clone)]
pub struct ManualClock {
    start: Instant,
    wall: SystemTime,
    elapsed: Arc<watch::Sender<Duration>>,
}

impl ManualClock {
    /// A clock that shows this time of day.
    #[must_use]
    pub fn at(wall: SystemTime) -> Self {
        let elapsed = Arc::new(watch::Sender::new(Duration::ZERO));
        Self { start: SystemClock.monotonic(), wall, elapsed }
    }

    /// Moves the clock on; whoever sleeps until then wakes up.
    pub fn advance(&self, by: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }

    /// Waits until somebody sleeps on this clock, so that moving it will wake them.
    pub async fn slept_on(&self) {
        self.slept_on_by(1).await;
    }

    /// Waits until at least this many sleep on this clock at once.
    pub async fn slept_on_by(&self, sleepers: usize) {
        // Polled rather than signalled: the only way to know a sleeper is its subscription.
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
            // The clock is kept until here, so its sender is too.
            let _clock = clock;
            drop(elapsed.wait_for(|elapsed| start + *elapsed >= deadline).await);
        })
    }
}
