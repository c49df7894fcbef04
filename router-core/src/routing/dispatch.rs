//! Calls a handler with its object lock, its timeout, and a guard against panics.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use super::{
    handlers::{Handlers, RegisteredHandler},
    keyed_lock::KeyGuard,
    unmatched::Filter,
};
use crate::{
    clock::within,
    delivery::{PerDeliveryValues, within_unless_paused},
    event::{Event, ObjectId},
    extract::{Attempt, needs::Supplies},
    handler::{Failure, HandlerFuture, HandlerResult, Outcome},
    panic_guard::{Guarded, Panic, catch},
};

/// A call of a blocking handler that timed out but still runs in its thread.
///
/// It holds the object's lock until the call ends.
pub(crate) struct OverdueCall {
    call: Call,
    _lock: Option<KeyGuard<ObjectId>>,
}

/// A handler ran into its timeout.
#[derive(Debug, thiserror::Error)]
#[error(
    "the handler did not finish within {}{}", humantime::format_duration(*.0),
    .1.as_ref().map(|panic| format!("; when it was stopped, {panic}")).unwrap_or_default()
)]
struct TimedOut(Duration, Option<Panic>);

/// The object's lock was not released before the handler's timeout.
#[derive(Debug, thiserror::Error)]
#[error(
    "another event of the same object ({object}) was still being handled after {}, so the handler was not called",
    humantime::format_duration(*.waited)
)]
struct ObjectBusy {
    object: ObjectId,
    waited: Duration,
}

/// A handler returned a reply without being registered as one that replies.
#[derive(Debug, thiserror::Error)]
#[error(
    "the handler returned a reply for Stripe, but is not registered as one that replies: an `impl Handler` must \
     return `true` from `replies`, and a function's return type must be `Reply<T>`, not `impl IntoOutcome`"
)]
struct UnexpectedReply;

impl Handlers {
    /// Calls the handler. `name` is the stable name, current or former, in the delivery.
    ///
    /// Returns a timeout as a transient failure. If the handler is blocking, a timeout also returns
    /// the call, which still runs.
    pub(crate) async fn call(
        &self,
        handler: &RegisteredHandler,
        name: &str,
        event: &Event,
        attempt: Attempt,
        mut per_delivery: PerDeliveryValues,
    ) -> (HandlerResult, Option<OverdueCall>) {
        let timeout = handler.timeout;
        let (mut remaining, mut lock) = (timeout, None);
        if handler.settings.exclusive
            && let Some(object) = event.object_id()
        {
            let started = self.clock.monotonic();
            let acquire = pin!(self.object_locks.lock(object.clone()));
            lock = within(timeout, &*self.clock, acquire).await;
            if lock.is_none() {
                return (Err(Failure::retry(ObjectBusy { object, waited: timeout })), None);
            }
            remaining = timeout.saturating_sub(self.clock.monotonic() - started);
        }
        let pause = per_delivery.timeout_pause.clone();
        // Values that the handler does not take are dropped here, before it runs.
        let start = move || {
            let (states, per_delivery) = (&self.states, &mut per_delivery);
            let mut supplies = Supplies { states, per_delivery, event, handler: name, attempt };
            Call(Guarded::new(handler.callable.call(event.clone(), &mut supplies)))
        };
        let mut call = match catch(HANDLER, start) {
            Ok(call) => call,
            Err(panic) => return (Err(Failure::retry(panic)), None),
        };
        let pinned_call = Pin::new(&mut call);
        let result = match &pause {
            None => within(remaining, &*self.clock, pinned_call).await,
            Some(pause) => within_unless_paused(remaining, pause, &*self.clock, pinned_call).await,
        };
        match result {
            Some(result) => (handler.check_reply(result), None),
            None if handler.settings.blocking => {
                let overdue = OverdueCall { call, _lock: lock };
                (Err(Failure::retry(TimedOut(timeout, None))), Some(overdue))
            }
            None => {
                let panic = call.0.clear(HANDLER).err();
                (Err(Failure::retry(TimedOut(timeout, panic))), None)
            }
        }
    }
}

impl RegisteredHandler {
    /// Returns the filter on the events of the handler's types.
    pub(super) fn filter(&self) -> Filter {
        Filter { endpoint: self.settings.endpoint, livemode: self.settings.livemode }
    }

    /// Builds the default reply. Returns `None` if the handler has none, or if building it fails,
    /// which is logged.
    pub(super) fn default_reply(&self) -> Option<Bytes> {
        let build = self.settings.default_reply?;
        let failure = match catch("the function `default_reply`", build) {
            Ok(Ok(Outcome::Replied(json))) => return Some(json),
            Ok(Ok(_)) => return None,
            Ok(Err(failure)) => failure,
            Err(panic) => Failure::retry(panic),
        };
        tracing::error!(
            handler = &*self.name, error = %failure,
            "failed to build the default reply; Stripe gets no reply: fix the function that `default_reply` names"
        );
        None
    }

    /// Turns the reply of a handler that is not registered as replying into a permanent failure.
    fn check_reply(&self, result: HandlerResult) -> HandlerResult {
        match result {
            Ok(Outcome::Replied(_)) if !self.replies => Err(Failure::permanent(UnexpectedReply)),
            result => result,
        }
    }
}

impl OverdueCall {
    /// Waits for the call to end, however long it takes.
    pub(crate) async fn wait(self) -> HandlerResult {
        self.call.await
    }
}

/// The subject of a handler's panic.
const HANDLER: &str = "the handler";

/// A running call of a handler. Converts a panic of the future, or of its drop, to a transient
/// failure.
struct Call(Guarded<HandlerFuture>);

impl Future for Call {
    type Output = HandlerResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<HandlerResult> {
        let future = self.0.get_mut().expect("a call is not polled after its result");
        let result = match catch(HANDLER, || future.as_mut().poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result,
            // The future is not polled again, so its broken state is never observed.
            Err(panic) => Err(Failure::retry(panic)),
        };
        let dropped = self.0.clear(HANDLER);
        Poll::Ready(result.and_then(|outcome| match dropped {
            Ok(()) => Ok(outcome),
            Err(panic) => Err(Failure::retry(panic)),
        }))
    }
}
