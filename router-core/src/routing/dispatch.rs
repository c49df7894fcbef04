//! Runs the handlers of one event, one after the other.

use std::{
    any::Any,
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use crate::{
    build::registry::LinkedCall,
    clock::{Clock, within},
    event::Event,
    extract::{States, needs::Supplies},
    handler::{Failure, Handler, HandlerFuture, HandlerReport, HandlerResult, Outcome, Panic},
};

/// A handler in a router.
#[derive(Debug)]
pub(crate) struct RegisteredHandler {
    /// The stable name.
    pub(crate) name: Arc<str>,
    pub(crate) filter: Filter,
    pub(crate) timeout: Duration,
    pub(crate) caller: Caller,
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

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linked(_) => "Linked",
            Self::ByHand(_) => "ByHand",
        })
    }
}

/// A handler took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("the handler did not finish within {}", humantime::format_duration(*.0))]
struct TimedOut(Duration);

/// What the calls of a router's handlers have in common.
pub(super) struct Dispatch<'r> {
    pub(super) states: &'r States,
    pub(super) clock: &'r dyn Clock,
}

impl Dispatch<'_> {
    /// Runs these handlers in this order. None harms another: whatever one does, the next one runs.
    pub(super) async fn run(
        &self,
        handlers: impl Iterator<Item = &RegisteredHandler>,
        event: &Event,
    ) -> Vec<HandlerReport> {
        let mut reports = Vec::new();
        for handler in handlers {
            let result = self.call(handler, event.clone()).await;
            log_result(handler, event, &result);
            reports.push(HandlerReport::new(handler.name.clone(), result));
        }
        reports
    }

    /// Runs the handler of what no other is for. It is not in the report: the event is answered with
    /// 200 whatever it does.
    pub(super) async fn run_unhandled(&self, handler: &RegisteredHandler, event: &Event) {
        if let Err(failure) = self.call(handler, event.clone()).await {
            tracing::error!(
                handler = &*handler.name, event.id = event.id(), event.r#type = event.event_type(),
                error = %failure,
                "the handler of unhandled events failed; Stripe will not send the event again"
            );
        }
    }

    async fn call(&self, handler: &RegisteredHandler, event: Event) -> HandlerResult {
        let call: HandlerFuture = match handler.caller.clone() {
            Caller::Linked(call) => call(event, &mut Supplies { states: self.states }),
            // Inside the future, so that a panic before its first await is caught too.
            Caller::ByHand(handler) => Box::pin(async move { handler.call(event).await }),
        };
        match within(handler.timeout, self.clock, catch_panic(call)).await {
            Some(Ok(result)) => result,
            Some(Err(panic)) => Err(Failure::retry(Panic::new(&*panic))),
            None => Err(Failure::retry(TimedOut(handler.timeout))),
        }
    }
}

impl RegisteredHandler {
    /// Whether it is for this event, whose type it is for.
    pub(super) fn wants(&self, event: &Event) -> bool {
        let Filter { endpoint, livemode } = self.filter;
        endpoint.is_none_or(|endpoint| endpoint == event.endpoint().as_str())
            && livemode.is_none_or(|livemode| event.livemode() == Some(livemode))
    }
}

async fn catch_panic<T>(
    mut future: Pin<Box<dyn Future<Output = T> + Send>>,
) -> Result<T, Box<dyn Any + Send>> {
    // After a panic the future is dropped and never polled again, so nobody sees what it broke.
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn log_result(handler: &RegisteredHandler, event: &Event, result: &HandlerResult) {
    let (handler, id, event_type) = (&*handler.name, event.id(), event.event_type());
    match result {
        Ok(Outcome::Done) => tracing::debug!(handler, "handler done"),
        Ok(Outcome::Ignored(reason)) => {
            tracing::info!(handler, %reason, "handler ignored the event");
        }
        Err(failure) if failure.is_permanent() => tracing::error!(
            handler, event.id = id, event.r#type = event_type, error = %failure,
            "handler failed for good; Stripe will not send the event again, so handle it by hand"
        ),
        Err(failure) => tracing::warn!(
            handler, event.id = id, event.r#type = event_type, error = %failure,
            "handler failed; Stripe will send the event again"
        ),
    }
}
