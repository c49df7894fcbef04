//! The one place that asks for the time, so that a test can move it.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

/// Where time comes from. [`SystemClock`] in production; a test passes one that it moves itself.
pub trait Clock: Send + Sync + 'static {
    /// The time of day, against which the age of a signature is judged.
    fn wall(&self) -> SystemTime;

    /// A time that never goes back, against which waiting is measured.
    fn monotonic(&self) -> Instant;

    /// Waits until [`monotonic`](Clock::monotonic) has reached `deadline`.
    fn sleep_until(&self, deadline: Instant) -> Sleep;

    /// Waits for as long as `duration`.
    fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.monotonic() + duration)
    }
}

/// What [`Clock::sleep_until`] returns.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the future gives, unless it takes longer than this: then `None`. The timer is only made for one
/// that is not ready at once, which most are. It is pinned where it was made, since large futures that are
/// handed on are copied each time.
pub(crate) async fn within<T>(
    time: Duration,
    clock: &dyn Clock,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let mut deadline = None;
    poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        let deadline = deadline.get_or_insert_with(|| clock.sleep(time));
        deadline.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// The clock of the machine, with tokio's timers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
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
