//! The timeout of a handler, which a delivery service can pause.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use crate::clock::Clock;

/// Pauses the timeout of a handler's call while the handler waits for the delivery service, for
/// example for a connection to a database. Clones share the pause.
///
/// [`Delivery::timeout_pause`](crate::delivery::Delivery::timeout_pause) returns it.
#[derive(Debug, Clone, Default)]
pub struct TimeoutPause(Arc<AtomicUsize>);

/// A guard that pauses the timeout until it is dropped.
#[derive(Debug)]
pub struct PausedTimeout(Arc<AtomicUsize>);

impl TimeoutPause {
    /// Pauses the timeout until the returned guard is dropped.
    #[must_use = "dropping the guard ends the pause"]
    pub fn pause(&self) -> PausedTimeout {
        self.0.fetch_add(1, Ordering::Relaxed);
        PausedTimeout(self.0.clone())
    }

    fn is_paused(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for PausedTimeout {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for the future's output, and returns `None` if that takes longer than `timeout`. Time that
/// passes during a pause does not count.
///
/// The handler waits inside the future, so a pause begins and ends only while the future is polled.
/// The clock is therefore read after each poll, and when the timer expires.
pub(crate) async fn within_unless_paused<T>(
    timeout: Duration,
    pause: &TimeoutPause,
    clock: &dyn Clock,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let (mut timer, mut paused_at) = (None, None);
    poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        let now = clock.monotonic();
        let (deadline, sleep) =
            timer.get_or_insert_with(|| (now + timeout, clock.sleep_until(now + timeout)));
        if pause.is_paused() {
            paused_at.get_or_insert(now);
        } else if let Some(paused_at) = paused_at.take() {
            *deadline += now - paused_at;
            *sleep = clock.sleep_until(*deadline);
        }
        while sleep.as_mut().poll(context).is_ready() {
            let Some(paused_at) = &mut paused_at else { return Poll::Ready(None) };
            let now = clock.monotonic();
            *deadline += now - *paused_at;
            *paused_at = now;
            *sleep = clock.sleep_until(*deadline);
        }
        Poll::Pending
    })
    .await
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
        time::UNIX_EPOCH,
    };

    use super::*;
    use crate::testing::ManualClock;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Each step waits, paused or not. Returns the time at which the handler was stopped.
    fn stopped_after(steps: &[(bool, u64)]) -> Option<Duration> {
        let (clock, pause) = (ManualClock::at(UNIX_EPOCH), TimeoutPause::default());
        let start = clock.monotonic();
        let mut context = Context::from_waker(Waker::noop());
        let (mut paused, mut step) = (None, None);
        let (mut steps_left, clock_of_handler) = (steps.iter(), clock.clone());
        let mut handler = pin!(poll_fn(|_| {
            loop {
                if step.is_some_and(|end| clock_of_handler.monotonic() < end) {
                    return Poll::Pending;
                }
                let Some((is_paused, seconds)) = steps_left.next() else { return Poll::Ready(()) };
                paused = is_paused.then(|| pause.pause());
                step = Some(clock_of_handler.monotonic() + Duration::from_secs(*seconds));
            }
        }));
        let call = within_unless_paused(TIMEOUT, &pause, &clock, handler.as_mut());
        let mut call = pin!(call);
        loop {
            match call.as_mut().poll(&mut context) {
                Poll::Ready(Some(())) => return None,
                Poll::Ready(None) => return Some(clock.monotonic() - start),
                Poll::Pending => clock.advance(Duration::from_secs(1)),
            }
        }
    }

    #[test]
    fn timeout_excludes_pauses() {
        let stopped = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(stopped_after(&[(false, 9)]), None);
        assert_eq!(stopped_after(&[(false, 11)]), stopped(10));
        assert_eq!(stopped_after(&[(true, 100), (false, 9)]), None);
        assert_eq!(stopped_after(&[(true, 100), (false, 11)]), stopped(110));
        assert_eq!(stopped_after(&[(false, 4), (true, 25), (false, 5)]), None);
        assert_eq!(stopped_after(&[(false, 4), (true, 25), (false, 7)]), stopped(35));
        assert_eq!(stopped_after(&[(false, 4), (true, 2), (false, 7)]), stopped(12));
    }
}
