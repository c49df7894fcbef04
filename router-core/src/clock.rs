//! The only source of time in this crate, so that a test can control it.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

/// A source of time: [`SystemClock`] in production, or a clock that a test moves.
pub trait Clock: Send + Sync + 'static {
    /// Returns the time of day, which the age of a signature is measured against.
    fn wall(&self) -> SystemTime;

    /// Returns a time that never goes back, which timeouts are measured against.
    fn monotonic(&self) -> Instant;

    /// Waits until [`monotonic`](Clock::monotonic) has reached `deadline`.
    fn sleep_until(&self, deadline: Instant) -> Sleep;

    /// Waits for `duration`.
    fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.monotonic() + duration)
    }
}

/// The future returned by [`Clock::sleep_until`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits for the future's output, and returns `None` if that takes longer than `timeout`.
///
/// The timer is created only if the future is not ready at the first poll; most are. The future is
/// passed pinned, because moving a large future copies it.
pub(crate) async fn within<T>(
    timeout: Duration,
    clock: &dyn Clock,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let mut deadline = None;
    poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        let deadline = deadline.get_or_insert_with(|| clock.sleep(timeout));
        deadline.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// The machine's clock, with tokio's timers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "the only implementation that reads the real time")]
impl Clock for SystemClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Box::pin(tokio::time::sleep_until(deadline.into()))
    }
}
