//! Guards against panics of application code, for services that run handlers.
//!
//! A guard also covers the drop of a future, of an error, and of a panic's own payload. A panic
//! while the thread unwinds from another panic aborts the process, which no guard can prevent.

use std::{
    any::Any,
    future::{Future, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
};

/// A caught panic, with its message.
#[derive(Debug, thiserror::Error)]
#[error("{subject} panicked: {message}")]
pub struct Panic {
    subject: &'static str,
    message: String,
}

impl Panic {
    fn new(subject: &'static str, payload: Box<dyn Any + Send>) -> Self {
        let message = (payload.downcast_ref::<&str>().copied())
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("without a message").to_owned();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // Its drop could panic as well.
            mem::forget(payload);
        }
        Self { subject, message }
    }
}

/// Calls a function and catches its panic. `subject` names the code in the message, such as
/// `the handler`.
///
/// After a panic, the caller must not use values that the function may have left inconsistent.
///
/// # Errors
///
/// Fails if the function panics.
pub fn catch<T>(subject: &'static str, call: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| Panic::new(subject, payload))
}

/// Runs a future, and catches its panics while it is polled and when it is dropped. `subject` names
/// the code in the message, such as `the handler`.
///
/// # Errors
///
/// Fails if the future panics, or if its drop does.
pub async fn catch_panic<F: Future>(subject: &'static str, future: F) -> Result<F::Output, Panic> {
    let mut slot = Slot { subject, future: pin!(Some(future)) };
    let result = poll_fn(|context| {
        let Some(future) = slot.future.as_mut().as_pin_mut() else { return Poll::Pending };
        match catch(subject, || future.poll(context)) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    let result = result.await;
    let dropped = slot.clear();
    result.and_then(|value| dropped.map(|()| value))
}

/// A pinned future, which is dropped under a guard.
struct Slot<'s, F> {
    subject: &'static str,
    future: Pin<&'s mut Option<F>>,
}

impl<F> Slot<'_, F> {
    fn clear(&mut self) -> Result<(), Panic> {
        catch(self.subject, || self.future.set(None))
    }
}

impl<F> Drop for Slot<'_, F> {
    fn drop(&mut self) {
        // No caller waits for the result. The panic hook of the process has printed the panic.
        drop(self.clear());
    }
}

/// A value of the application, which is dropped under a guard.
pub(crate) struct Guarded<T>(Option<T>);

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Returns the value, or `None` after [`clear`](Self::clear).
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    /// Returns the value, or `None` after [`clear`](Self::clear).
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }

    /// Drops the value.
    ///
    /// # Errors
    ///
    /// Fails if its drop panics.
    pub(crate) fn clear(&mut self, subject: &'static str) -> Result<(), Panic> {
        let value = self.0.take();
        catch(subject, || drop(value))
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // As in `Slot`, the panic hook of the process has printed the panic.
        drop(self.clear("a value"));
    }
}
