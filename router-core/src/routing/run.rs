//! Runs the handlers of an event, and records the progress and dead letters of each handler.

use std::{fmt, future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tracing::Instrument as _;

use super::{
    RouterError,
    dispatch::OverdueCall,
    earlier::{Decision, EarlierDeliveries},
    handlers::{Handlers, RegisteredHandler},
    in_flight::{Answer, InFlight},
};
use crate::{
    clock::within,
    completions::{Completion, CompletionBackend, HandlerProgress},
    dead_letters::{DeadLetter, DeadLetters, NotStored},
    delivery::PerDeliveryValues,
    event::{Event, EventKey},
    extract::Attempt,
    handler::{
        BoxError, ErrorChain, Failure, HandlerReport, HandlerResult, Later, Outcome, Report,
        one_line,
    },
    panic_guard::catch_panic,
    telemetry,
};

const COMPLETION_STORE: &str = "the completion store";
const DEAD_LETTER_SINK: &str = "the dead-letter sink";

/// The state that all clones of a router share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) parts: Parts,
    pub(super) in_flight: InFlight,
}

/// The parts from which `build()` creates a router.
pub(crate) struct Parts {
    pub(crate) handlers: Handlers,
    /// The handler for unhandled events.
    pub(crate) unhandled: Option<RegisteredHandler>,
    pub(crate) completions: CompletionBackend,
    /// The dead-letter sink, in addition to the log.
    pub(crate) dead_letters: Option<Arc<dyn DeadLetters>>,
    /// The maximum time that a duplicate waits for the event in flight, and that a call of a
    /// user-supplied completion store or dead-letter sink may take.
    pub(crate) wait_timeout: Duration,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("handlers", &self.handlers).finish_non_exhaustive()
    }
}

/// The run of a claimed event's handlers.
///
/// Until the `Run` is dropped, duplicates of the event do not run in this process, and the router
/// is not drained.
pub(super) struct Run {
    pub(super) router: Arc<Inner>,
    pub(super) event: Event,
    pub(super) key: EventKey,
}

/// The failure of a handler that asked to run later, although Stripe will not redeliver the event.
#[derive(Debug, thiserror::Error)]
#[error(
    "the handler asked to run later, but Stripe will not redeliver the event{}",
    .0.reason().map(|reason| format!(": {reason}")).unwrap_or_default()
)]
struct NoRedelivery(Later);

impl Drop for Run {
    fn drop(&mut self) {
        self.router.in_flight.release(&self.key);
    }
}

/// A blocking handler that timed out but still runs in its thread.
struct OverdueHandler {
    handler: Arc<str>,
    attempts: u32,
    /// `true` if the default reply was sent, so the handler counts as finished already.
    default_reply_sent: bool,
    call: OverdueCall,
}

/// The effect of a handler's failure on the answer to Stripe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Redelivery {
    /// A transient failure is answered with 500, so Stripe redelivers the event.
    OnFailure,
    /// The event is answered with 200 despite the failure.
    Never,
}

impl Run {
    /// Runs the handlers one after the other, up to the one that replies, and returns the answer.
    ///
    /// The handlers after the one that replied then run in a task, which also waits for overdue
    /// blocking handlers. The event stays in flight until the task ends.
    pub(super) async fn answer(self) -> Answer {
        let mut earlier = match self.load_earlier().await {
            Ok(earlier) => earlier,
            Err(error) => {
                let answer = Err(error);
                self.router.in_flight.publish_answer(&self.key, &answer);
                return answer;
            }
        };
        let router = self.router.clone();
        let started = router.parts.handlers.clock.monotonic();
        let mut indices = router.parts.handlers.matching(&self.event);
        let (mut reports, mut overdue) = (Vec::new(), Vec::new());
        let is_unhandled = router.parts.handlers.is_unhandled(&self.event);
        router.parts.handlers.log_unmatched(None, &self.event);
        if is_unhandled {
            self.handle_unhandled(&mut earlier, &mut overdue).await;
        }
        for index in indices.by_ref() {
            let handler = &router.parts.handlers.list[index];
            let report =
                self.handle(handler, Redelivery::OnFailure, &mut earlier, &mut overdue).await;
            let replied = report.reply().is_some();
            reports.push(report);
            // Send the reply at once. The remaining handlers run after it.
            if replied {
                break;
            }
        }
        let report = Report::new(self.event.clone(), reports);
        telemetry::event_answered(&report, router.parts.handlers.clock.monotonic() - started);
        let answer = Ok(report);
        self.router.in_flight.publish_answer(&self.key, &answer);
        let remaining: Vec<usize> = indices.collect();
        if !remaining.is_empty() || !overdue.is_empty() {
            tokio::spawn(self.finish_after_answer(remaining, earlier, overdue).in_current_span());
        }
        answer
    }

    async fn load_earlier(&self) -> Result<EarlierDeliveries, RouterError> {
        let Parts { completions, handlers, .. } = &self.router.parts;
        let progress = match completions {
            CompletionBackend::InMemory(memory) => memory.load_progress(&self.key),
            CompletionBackend::Custom(store) => self
                .with_timeout(COMPLETION_STORE, async { store.load(&self.key).await })
                .await
                .map_err(|error| RouterError::CompletionStore(error.into()))?,
        };
        Ok(EarlierDeliveries::new(progress, handlers, &self.event))
    }

    /// Awaits a call of a user-supplied store or sink, with a timeout. `subject` names the store or
    /// sink in the error.
    ///
    /// Without the timeout, a store that never answers would leave the event in flight forever.
    ///
    /// # Errors
    ///
    /// Fails if the call fails, panics, or exceeds the timeout.
    async fn with_timeout<T>(
        &self,
        subject: &'static str,
        call: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let Parts { wait_timeout, handlers, .. } = &self.router.parts;
        let timed_out = || Err(format!("no answer within {wait_timeout:?}").into());
        let call = pin!(catch_panic(subject, call));
        match within(*wait_timeout, &*handlers.clock, call).await {
            Some(result) => result?,
            None => timed_out(),
        }
    }

    /// Runs the handlers after the one that replied, then waits for overdue blocking handlers.
    ///
    /// The event stays in flight until all have returned.
    async fn finish_after_answer(
        self,
        remaining: Vec<usize>,
        mut earlier: EarlierDeliveries,
        mut overdue: Vec<OverdueHandler>,
    ) {
        let router = self.router.clone();
        for index in remaining {
            let handler = &router.parts.handlers.list[index];
            self.handle(handler, Redelivery::Never, &mut earlier, &mut overdue).await;
        }
        for OverdueHandler { handler, attempts, default_reply_sent, call } in overdue {
            let result = call.wait().await;
            let done = result.as_ref().is_ok_and(|outcome| !matches!(outcome, Outcome::Later(_)));
            tracing::info!(
                handler = &*handler,
                done,
                "blocking handler returned after its timeout"
            );
            // Record a late success, so that a redelivery skips the handler. A late failure changes
            // nothing: the timeout is already recorded. (The record no longer tells that the answer
            // was 500, so a dead letter of the event starts over at Stripe's own redelivery.)
            if done && !default_reply_sent {
                let completion = completion(&self.event, &result, None);
                self.record(HandlerProgress { handler, attempts, completion }).await;
            }
        }
    }

    /// Calls the handler for unhandled events, if there is one that takes the event.
    async fn handle_unhandled(
        &self,
        earlier: &mut EarlierDeliveries,
        overdue: &mut Vec<OverdueHandler>,
    ) {
        if let Some(handler) = &self.router.parts.unhandled
            && handler.filter().accepts(&self.event)
        {
            self.handle(handler, Redelivery::Never, earlier, overdue).await;
        }
    }

    /// Runs a handler and records its progress, unless its progress in an earlier delivery decides
    /// that it does not run.
    async fn handle(
        &self,
        handler: &RegisteredHandler,
        redelivery: Redelivery,
        earlier: &mut EarlierDeliveries,
        overdue: &mut Vec<OverdueHandler>,
    ) -> HandlerReport {
        let attempts = match earlier.decide(handler, &self.event) {
            Decision::Run { attempt } => attempt,
            Decision::Skip(report) => return report,
        };
        let span = telemetry::handler_span(&handler.name, attempts);
        pin!(self.call_and_record(handler, attempts, redelivery, overdue)).instrument(span).await
    }

    async fn call_and_record(
        &self,
        handler: &RegisteredHandler,
        attempts: u32,
        redelivery: Redelivery,
        overdue: &mut Vec<OverdueHandler>,
    ) -> HandlerReport {
        let handlers = &self.router.parts.handlers;
        let name = &handler.name;
        let started = handlers.clock.monotonic();
        // After an answer with 200, Stripe does not redeliver the event, so no attempt follows.
        let is_last = redelivery == Redelivery::Never || handler.settings.default_reply.is_some();
        let attempt = Attempt::new(attempts, is_last.then_some(attempts));
        let call = handlers.call(handler, name, &self.event, attempt, PerDeliveryValues::default());
        let (call_result, overdue_call) = call.await;
        let duration = Some(handlers.clock.monotonic() - started);
        let reply = match &call_result {
            Ok(Outcome::Replied(json)) => Some(json.clone()),
            Ok(Outcome::Done | Outcome::Ignored(_)) => None,
            Ok(Outcome::Later(_)) | Err(_) => handler.default_reply(),
        };
        // A reply, even a default reply, is sent with 200, so Stripe does not redeliver the event.
        let redelivery = if reply.is_some() { Redelivery::Never } else { redelivery };
        if let Some(call) = overdue_call {
            let (handler, default_reply_sent) = (name.clone(), reply.is_some());
            overdue.push(OverdueHandler { handler, attempts, default_reply_sent, call });
        }
        let result = match call_result {
            Err(failure) if failure.is_permanent() || redelivery == Redelivery::Never => {
                self.dead_letter(handler, attempts, failure.into_permanent()).await
            }
            Ok(Outcome::Later(later)) if redelivery == Redelivery::Never => {
                let failure = Failure::permanent(NoRedelivery(later));
                self.dead_letter(handler, attempts, failure).await
            }
            result => result,
        };
        log_result(handler, &self.event, redelivery, &result);
        let completion = completion(&self.event, &result, reply.as_ref());
        let counted = attempts - u32::from(matches!(result, Ok(Outcome::Later(_))));
        let progress = HandlerProgress { handler: name.clone(), attempts: counted, completion };
        self.record(progress).await;
        let report = HandlerReport { name: name.clone(), result, attempts, duration, reply };
        handler.metrics.handled(&report);
        report
    }

    /// Stores a dead letter in the sink, if there is one.
    ///
    /// Returns the permanent failure. If the sink fails, returns a transient failure, so that the
    /// handler runs again if Stripe redelivers the event.
    async fn dead_letter(
        &self,
        handler: &RegisteredHandler,
        attempts: u32,
        failure: Failure,
    ) -> HandlerResult {
        let parts = &self.router.parts;
        let Some(sink) = &parts.dead_letters else { return Err(failure) };
        let (event, handler, at) = (&self.event, &*handler.name, parts.handlers.clock.wall());
        let letter = DeadLetter { event, handler, attempts, failure: &failure, at };
        let stored = self.with_timeout(DEAD_LETTER_SINK, async { sink.store(&letter).await });
        match stored.await {
            Ok(()) => Err(failure),
            Err(error) => Err(Failure::retry(NotStored::new(&failure, error))),
        }
    }

    /// Records the progress of a handler. Logs an error if that fails.
    async fn record(&self, progress: HandlerProgress) {
        let store = match &self.router.parts.completions {
            CompletionBackend::InMemory(memory) => {
                return memory.store_progress(&self.key, progress);
            }
            CompletionBackend::Custom(store) => store,
        };
        let handler = progress.handler.clone();
        let record = async { store.record(&self.key, progress).await };
        if let Err(error) = self.with_timeout(COMPLETION_STORE, record).await {
            tracing::error!(
                handler = &*handler, event.id = self.event.id(), error = %ErrorChain::new(&*error),
                "failed to record the handler's progress; the handler runs again if Stripe redelivers the event"
            );
        }
    }
}

/// Returns the completion to record, or `None` if the handler must run again.
fn completion(event: &Event, result: &HandlerResult, reply: Option<&Bytes>) -> Option<Completion> {
    match (result, reply) {
        (_, Some(json)) => Some(Completion::Replied(json.clone())),
        (Ok(Outcome::Done | Outcome::Replied(_)), _) => Some(Completion::Done),
        (Ok(Outcome::Ignored(_)), _) => Some(Completion::Ignored),
        (Ok(Outcome::Later(_)), _) => None,
        (Err(failure), _) => failure
            .is_permanent()
            .then(|| Completion::Dead { api_version: event.api_version().map(Arc::from) }),
    }
}

fn log_result(
    registered: &RegisteredHandler,
    event: &Event,
    redelivery: Redelivery,
    result: &HandlerResult,
) {
    let (handler, id, event_type) = (&*registered.name, event.id(), event.event_type());
    let version = event.api_version();
    match result {
        Ok(Outcome::Done | Outcome::Replied(_)) => tracing::debug!(handler, "handler done"),
        Ok(Outcome::Ignored(reason)) => {
            tracing::info!(handler, reason = %one_line(reason), "handler ignored the event");
        }
        Ok(Outcome::Later(later)) => tracing::info!(
            handler,
            reason = later.reason().map(|reason| tracing::field::display(one_line(reason))),
            "handler cannot handle the event yet; Stripe will redeliver the event"
        ),
        Err(failure) if failure.is_permanent() => tracing::error!(
            handler, event.id = id, event.r#type = event_type, event.api_version = version,
            error = %failure,
            "dead letter: the handler failed permanently and is not retried; fix the cause, then \
             resend the event, and the handler starts over"
        ),
        Err(failure) if redelivery == Redelivery::Never => {
            telemetry::lost_failure(&registered.name);
            tracing::error!(
                handler, event.id = id, event.r#type = event_type, event.api_version = version,
                error = %failure,
                "event lost: the handler failed, the dead-letter sink did not store the event, and Stripe will not \
                 redeliver it; process it manually"
            );
        }
        Err(failure) => tracing::warn!(
            handler, event.id = id, event.r#type = event_type, event.api_version = version,
            error = %failure,
            "handler failed; Stripe will redeliver the event"
        ),
    }
}
