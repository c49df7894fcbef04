//! Runs the handlers of one event, one after the other.

use std::{
    any::Any,
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use crate::{
    event::Event,
    handler::{
        Failure, Handler, HandlerFuture, HandlerReport, HandlerResult, Outcome, Panic, Report,
    },
};

/// A handler in a router.
#[derive(Debug)]
pub(crate) struct RegisteredHandler {
    /// The stable name.
    pub(crate) name: Arc<str>,
    pub(crate) call: Call,
}

/// How a handler is called.
#[derive(Clone)]
pub(crate) enum Call {
    /// `#[on_event]` registered it.
    Linked(fn(Event) -> HandlerFuture),
    /// It was registered by hand.
    ByHand(Arc<dyn Handler>),
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linked(_) => "Linked",
            Self::ByHand(_) => "ByHand",
        })
    }
}

/// Runs these handlers in this order. None harms another: whatever one does, the next one runs.
pub(super) async fn run(
    handlers: impl Iterator<Item = &RegisteredHandler>,
    event: Event,
) -> Report {
    let mut reports = Vec::with_capacity(handlers.size_hint().0);
    for handler in handlers {
        let result = handler.call(event.clone()).await;
        log_result(handler, &event, &result);
        reports.push(HandlerReport::new(handler.name.clone(), result));
    }
    Report::new(event, reports)
}

impl RegisteredHandler {
    async fn call(&self, event: Event) -> HandlerResult {
        let call: HandlerFuture = match self.call.clone() {
            Call::Linked(call) => call(event),
            // Inside the future, so that a panic before its first await is caught too.
            Call::ByHand(handler) => Box::pin(async move { handler.call(event).await }),
        };
        catch_panic(call).await.unwrap_or_else(|panic| Err(Failure::retry(Panic::new(&*panic))))
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
