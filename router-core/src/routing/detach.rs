//! Work that goes on when nobody waits for it any more.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

/// Runs `work` to its end even if the returned future is dropped after it was first polled: a
/// client that hangs up must not cancel a handler that has begun.
///
/// The first poll happens in place, because most handlers are ready at once and a task costs more
/// than they do; what is still pending then moves to a task of its own. `None` if the runtime shut
/// down before the work was done.
pub(super) async fn detached<T>(mut work: Pin<Box<dyn Future<Output = T> + Send>>) -> Option<T>
where
    T: Send + 'static,
{
    match poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        Poll::Ready(value) => Some(value),
        Poll::Pending => tokio::spawn(work).await.ok(),
    }
}
