//! Calls a handler with its object lock, its timeout, and a guard against panics.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use super::{
    filter::{Filter, LoggedExclusions},
    handlers::Handlers,
    keyed_lock::KeyGuard,
    timeout::within_unless_paused,
};
use crate::{
    build::registry::{DeliveryKeys, LinkedCall},
    clock::within,
    event::{Event, ObjectId},
    extract::{PerDeliveryValues, needs::Supplies},
    handler::{Failure, Handler, HandlerFuture, HandlerResult, Outcome},
    panic_guard::{Guarded, Panic, catch},
    telemetry::HandlerMetrics,
};

/// A validated handler.
#[derive(Debug)]
pub(crate) struct RegisteredHandler {
    /// The stable name.
    pub(crate) name: Arc<str>,
    /// The stable name before the handler was renamed.
    pub(crate) formerly: Option<&'static str>,
    /// `true` if one of its patterns is `*`.
    pub(crate) catch_all: bool,
    pub(crate) filter: Filter,
    pub(crate) logged_exclusions: LoggedExclusions,
    /// The maximum duration of a call, including the wait for the object lock.
    pub(crate) timeout: Duration,
    /// `true` if the handler returns a reply for Stripe.
    pub(crate) replies: bool,
    /// Builds the reply to send if the handler fails.
    pub(crate) default_reply: Option<fn() -> HandlerResult>,
    /// `true` if the handler runs for only one event of an object at a time. It takes no lock for
    /// an event without an [`ObjectId`].
    pub(crate) exclusive: bool,
    /// `true` if the handler runs in a blocking thread, which cannot be canceled.
    pub(crate) blocking: bool,
    /// The settings for a delivery service.
    pub(crate) delivery_keys: DeliveryKeys,
    /// `true` if it takes a [`PerDelivery`](crate::PerDelivery), or an argument built on it.
    pub(crate) takes_per_delivery: bool,
    pub(crate) callable: Callable,
    pub(crate) metrics: HandlerMetrics,
}

/// The function or value that handles the event.
#[derive(Clone)]
pub(crate) enum Callable {
    /// The generated function of an `#[on_event]` handler.
    Linked(LinkedCall),
    /// A handler registered by hand.
    Handler(Arc<dyn Handler>),
}

/// A call of a blocking handler that timed out but still runs in its thread.
///
/// It holds the object's lock until the call ends.
pub(super) struct OverdueCall {
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
    pub(super) async fn call(
        &self,
        handler: &RegisteredHandler,
        name: &str,
        event: &Event,
        per_delivery: PerDeliveryValues,
    ) -> (HandlerResult, Option<OverdueCall>) {
        let timeout = handler.timeout;
        let (mut remaining, mut lock) = (timeout, None);
        if handler.exclusive
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
        let start = || self.start(handler, name, event, per_delivery);
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
            None if handler.blocking => {
                let overdue = OverdueCall { call, _lock: lock };
                (Err(Failure::retry(TimedOut(timeout, None))), Some(overdue))
            }
            None => {
                let panic = call.0.clear(HANDLER).err();
                (Err(Failure::retry(TimedOut(timeout, panic))), None)
            }
        }
    }

    fn start(
        &self,
        handler: &RegisteredHandler,
        name: &str,
        event: &Event,
        mut per_delivery: PerDeliveryValues,
    ) -> Call {
        Call(Guarded::new(match handler.callable.clone() {
            Callable::Linked(call) => {
                let (states, per_delivery) = (&self.states, &mut per_delivery);
                call(event.clone(), &mut Supplies { states, per_delivery, event, handler: name })
            }
            // Call the handler inside the future, so that `Call` also catches a panic before the
            // first await.
            Callable::Handler(handler) => {
                let event = event.clone();
                Box::pin(async move { handler.call(event).await })
            }
        }))
    }
}

impl RegisteredHandler {
    /// Builds the default reply. Returns `None` if the handler has none, or if building it fails,
    /// which is logged.
    pub(super) fn default_reply(&self) -> Option<Bytes> {
        let build = self.default_reply?;
        let failure = match catch("the function `default_reply`", build) {
            Ok(Ok(Outcome::Replied(json))) => return Some(json),
            Ok(Ok(_)) => return None,
            Ok(Err(failure)) => failure,
            Err(panic) => Failure::retry(panic),
        };
        tracing::error!(
            error = %failure,
            "failed to build the default reply; Stripe gets no reply"
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
    pub(super) async fn wait(self) -> HandlerResult {
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

impl fmt::Debug for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linked(_) => "Linked",
            Self::Handler(_) => "Handler",
        })
    }
}
