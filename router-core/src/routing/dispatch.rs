//! Calls one handler: in its turn, within its time, and whatever it does.

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use super::{handlers::Handlers, keyed_lock::Held};
use crate::{
    build::registry::{DeliveryKeys, LinkedCall},
    clock::within,
    event::{Event, ObjectId},
    extract::{Provisions, needs::Supplies},
    handler::{Failure, Handler, HandlerFuture, HandlerResult, Outcome, Panic},
    telemetry::HandlerMetrics,
};

/// A handler in a router.
#[derive(Debug)]
pub(crate) struct RegisteredHandler {
    /// The stable name.
    pub(crate) name: Arc<str>,
    /// The name that it had before it was moved or renamed.
    pub(crate) formerly: Option<&'static str>,
    pub(crate) filter: Filter,
    pub(crate) timeout: Duration,
    /// Whether Stripe waits for its answer; then `timeout` is its deadline.
    pub(crate) replies: bool,
    pub(crate) default_reply: Option<fn() -> HandlerResult>,
    /// Whether it is run for one event of an object at a time.
    pub(crate) exclusive: bool,
    /// Whether it runs in a thread, which nobody can stop.
    pub(crate) blocking: bool,
    /// How its deliveries go that somebody keeps and tries again.
    pub(crate) delivered: DeliveryKeys,
    pub(crate) caller: Caller,
    pub(crate) metrics: HandlerMetrics,
}

/// Which events of its types a handler is for; none: all.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filter {
    pub(crate) endpoint: Option<&'static str>,
    pub(crate) livemode: Option<bool>,
}

/// How a handler is called.
#[derive(Clone)]
pub(crate) enum Caller {
    /// `#[on_event]` registered it.
    Linked(LinkedCall),
    /// It was registered by hand.
    ByHand(Arc<dyn Handler>),
}

/// A call that was given up and cannot be stopped: it goes on in its thread.
pub(super) struct Leftover {
    call: Call,
    _lock: Option<Held<ObjectId>>,
}

/// A handler took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("the handler did not finish within {}", humantime::format_duration(*.0))]
struct TimedOut(Duration);

/// The object of the event was in use for longer than the handler may take.
#[derive(Debug, thiserror::Error)]
#[error(
    "another event of the same object ({object}) was still being handled after {}, so the handler was not called",
    humantime::format_duration(*.waited)
)]
struct ObjectBusy {
    object: ObjectId,
    waited: Duration,
}

/// A handler replied of which the router does not know that it does.
#[derive(Debug, thiserror::Error)]
#[error(
    "the handler returned a reply for Stripe and is not registered as one that does: an `impl Handler` says so in \
     `fn replies`, a function in its return type (`Reply<T>`, not `impl IntoOutcome`)"
)]
struct UnexpectedReply;

impl Handlers {
    /// Calls the handler, under the name by which the event's delivery is known. What is left over, if it
    /// is, runs still.
    pub(super) async fn call(
        &self,
        handler: &RegisteredHandler,
        name: &str,
        event: &Event,
        provisions: Provisions,
    ) -> (HandlerResult, Option<Leftover>) {
        let (timeout, mut left, mut lock) = (handler.timeout, handler.timeout, None);
        if handler.exclusive {
            let (object, begun) = (event.object_id(), self.clock.monotonic());
            let turn = pin!(self.objects.lock(object.clone()));
            lock = within(timeout, &*self.clock, turn).await;
            if lock.is_none() {
                return (Err(Failure::retry(ObjectBusy { object, waited: timeout })), None);
            }
            left = timeout.saturating_sub(self.clock.monotonic() - begun);
        }
        let mut call = self.begin(handler, name, event, provisions);
        match within(left, &*self.clock, Pin::new(&mut call)).await {
            Some(result) => (handler.check(result), None),
            None => {
                let leftover = handler.blocking.then_some(Leftover { call, _lock: lock });
                (Err(Failure::retry(TimedOut(timeout))), leftover)
            }
        }
    }

    fn begin(
        &self,
        handler: &RegisteredHandler,
        name: &str,
        event: &Event,
        mut provisions: Provisions,
    ) -> Call {
        Call(match handler.caller.clone() {
            Caller::Linked(call) => {
                let (states, provisions) = (&self.states, &mut provisions);
                call(event.clone(), &mut Supplies { states, provisions, event, handler: name })
            }
            // Inside the future, so that a panic before its first await is caught too.
            Caller::ByHand(handler) => {
                let event = event.clone();
                Box::pin(async move { handler.call(event).await })
            }
        })
    }
}

impl RegisteredHandler {
    /// Whether this is its stable name, or was.
    pub(super) fn is_called(&self, name: &str) -> bool {
        *self.name == *name || self.formerly == Some(name)
    }

    /// Whether it is for this event, whose type it is for.
    pub(super) fn wants(&self, event: &Event) -> bool {
        let Filter { endpoint, livemode } = self.filter;
        endpoint.is_none_or(|endpoint| endpoint == event.endpoint().as_str())
            && livemode.is_none_or(|livemode| event.livemode() == Some(livemode))
    }

    /// What Stripe is told where the handler has no reply.
    pub(super) fn default_reply(&self) -> Option<Bytes> {
        let default = self.default_reply?;
        match catch_unwind(default) {
            Ok(Ok(Outcome::Replied(json))) => Some(json),
            Ok(Err(failure)) => {
                tracing::error!(error = %failure, "the default reply could not be made");
                None
            }
            Ok(Ok(_)) => None,
            Err(panic) => {
                tracing::error!(error = %panicked(&*panic), "the default reply could not be made");
                None
            }
        }
    }

    fn check(&self, result: HandlerResult) -> HandlerResult {
        match result {
            Ok(Outcome::Replied(_)) if !self.replies => Err(Failure::permanent(UnexpectedReply)),
            result => result,
        }
    }
}

impl Leftover {
    /// Waits until the call has really ended.
    pub(super) async fn end(self) -> HandlerResult {
        self.call.await
    }
}

/// A call of a handler, whose panic is a failure.
struct Call(HandlerFuture);

impl Future for Call {
    type Output = HandlerResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<HandlerResult> {
        // After a panic the future is not polled again, so nobody sees what it broke.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(panicked(&*panic))),
        }
    }
}

fn panicked(payload: &(dyn Any + Send)) -> Failure {
    Failure::retry(Panic::new(payload))
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linked(_) => "Linked",
            Self::ByHand(_) => "ByHand",
        })
    }
}
