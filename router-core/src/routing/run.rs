//! One delivery of an event, from the handlers that have not finished it to the answer.

use std::{future::Future, pin::pin, sync::Arc};

use bytes::Bytes;
use tracing::Instrument as _;

use super::{
    RegisteredHandler, RouterError,
    dispatch::Leftover,
    in_flight::Answer,
    router::{Inner, Parts},
};
use crate::{
    clock::within,
    completions::{Completion, HandlerProgress, Remembered},
    dead_letters::{DeadLetter, NotKept},
    event::{Event, EventKey},
    extract::Provisions,
    handler::{BoxError, Failure, HandlerReport, HandlerResult, Outcome, Report},
    telemetry,
};

/// One delivery of an event that was claimed. As long as it is there, no other delivery of the event runs
/// in this process, and the router is not drained.
pub(super) struct Run {
    pub(super) router: Arc<Inner>,
    pub(super) event: Event,
    pub(super) key: EventKey,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.router.in_flight.give_up(&self.key);
    }
}

/// A call that goes on in its thread after its time was over.
struct Abandoned {
    handler: Arc<str>,
    attempts: u32,
    /// Whether Stripe has been answered in its place.
    answered_for: bool,
    call: Leftover,
}

/// Who tries again what failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Stripe,
    /// The event is answered with 200, whatever fails.
    Nobody,
}

impl Run {
    /// Runs the handlers one after the other. The answer comes as soon as it is certain: what there is
    /// to do after it goes on in a task.
    pub(super) async fn answer(self) -> Answer {
        let mut known = match self.recall().await {
            Ok(known) => known,
            Err(error) => {
                let answer = Err(error);
                self.router.in_flight.answer(&self.key, &answer);
                return answer;
            }
        };
        let router = self.router.clone();
        let begun = router.parts.handlers.clock.monotonic();
        let mut numbers = router.parts.handlers.wanted(&self.event).peekable();
        let (mut reports, mut leftovers) = (Vec::new(), Vec::new());
        if numbers.peek().is_none() {
            self.unhandled(&mut known, &mut leftovers).await;
        }
        for number in numbers.by_ref() {
            let handler = &router.parts.handlers.list[number];
            let report = self.handle(handler, Again::Stripe, &mut known, &mut leftovers).await;
            let replied = report.reply().is_some();
            reports.push(report);
            // Stripe waits for nothing else.
            if replied {
                break;
            }
        }
        let report = Report::new(self.event.clone(), reports);
        telemetry::event_answered(&report, router.parts.handlers.clock.monotonic() - begun);
        let answer = Ok(report);
        self.router.in_flight.answer(&self.key, &answer);
        let after_reply: Vec<usize> = numbers.collect();
        if !after_reply.is_empty() || !leftovers.is_empty() {
            tokio::spawn(self.after_answer(after_reply, known, leftovers).in_current_span());
        }
        answer
    }

    /// What is remembered of the event.
    async fn recall(&self) -> Result<Vec<HandlerProgress>, RouterError> {
        match &self.router.parts.completions {
            Remembered::InMemory(memory) => Ok(memory.progress(&self.key)),
            Remembered::Elsewhere(store) => self
                .in_time(store.recall(&self.key))
                .await
                .map_err(|error| RouterError::CompletionStore(error.into())),
        }
    }

    /// What a store or a sink of the user's says, if it does so in time: one that does not answer must
    /// not hold the event's place for ever.
    async fn in_time<T>(
        &self,
        said: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let Parts { wait, handlers, .. } = &self.router.parts;
        let late = || Err(format!("no answer within {wait:?}").into());
        within(*wait, &*handlers.clock, pin!(said)).await.unwrap_or_else(late)
    }

    /// The handlers that Stripe does not wait for, and calls that were given up and cannot be stopped:
    /// the event keeps its place until they have ended.
    async fn after_answer(
        self,
        numbers: Vec<usize>,
        mut known: Vec<HandlerProgress>,
        mut leftovers: Vec<Abandoned>,
    ) {
        let router = self.router.clone();
        for number in numbers {
            let handler = &router.parts.handlers.list[number];
            self.handle(handler, Again::Nobody, &mut known, &mut leftovers).await;
        }
        for Abandoned { handler, attempts, answered_for, call } in leftovers {
            let result = call.end().await;
            let done = result.is_ok();
            tracing::info!(
                handler = &*handler,
                done,
                "a blocking handler that was out of time has returned"
            );
            // It need not run again. Where it failed it will, as Stripe was told.
            if done && !answered_for {
                let finished = finished(&result, None);
                self.record(HandlerProgress { handler, attempts, finished }).await;
            }
        }
    }

    async fn unhandled(&self, known: &mut Vec<HandlerProgress>, leftovers: &mut Vec<Abandoned>) {
        self.router.unhandled.log(&self.event);
        if let Some(handler) = &self.router.parts.unhandled {
            self.handle(handler, Again::Nobody, known, leftovers).await;
        }
    }

    /// Runs a handler, unless it has finished the event before, and remembers how far it is.
    async fn handle(
        &self,
        handler: &RegisteredHandler,
        again: Again,
        known: &mut Vec<HandlerProgress>,
        leftovers: &mut Vec<Abandoned>,
    ) -> HandlerReport {
        let before = known.iter().position(|progress| handler.is_called(&progress.handler));
        let before = before.map(|at| known.swap_remove(at));
        let attempts = match before {
            Some(HandlerProgress { finished: Some(how), attempts, .. }) => {
                telemetry::finished_before();
                return HandlerReport::finished(handler.name.clone(), attempts, how);
            }
            Some(HandlerProgress { attempts, .. }) => attempts.saturating_add(1),
            None => 1,
        };
        let span = telemetry::handler_span(&handler.name, attempts);
        pin!(self.run(handler, attempts, again, leftovers)).instrument(span).await
    }

    async fn run(
        &self,
        handler: &RegisteredHandler,
        attempts: u32,
        again: Again,
        leftovers: &mut Vec<Abandoned>,
    ) -> HandlerReport {
        let parts = &self.router.parts;
        let handlers = &parts.handlers;
        let begun = handlers.clock.monotonic();
        let call = handlers.call(handler, &handler.name, &self.event, Provisions::default());
        let (result, leftover) = call.await;
        let duration = handlers.clock.monotonic() - begun;
        let name = &handler.name;
        let reply = match &result {
            Ok(Outcome::Replied(json)) => Some(json.clone()),
            Ok(_) => None,
            Err(_) => handler.default_reply(),
        };
        let again = if reply.is_some() { Again::Nobody } else { again };
        if let Some(call) = leftover {
            let (handler, answered_for) = (name.clone(), reply.is_some());
            leftovers.push(Abandoned { handler, attempts, answered_for, call });
        }
        let result = match result {
            Err(failure) if failure.is_permanent() || again == Again::Nobody => {
                self.bury(handler, attempts, failure.into_permanent()).await
            }
            result => result,
        };
        log_result(handler, &self.event, again, &result);
        let finished = finished(&result, reply.as_ref());
        self.record(HandlerProgress { handler: name.clone(), attempts, finished }).await;
        let duration = Some(duration);
        let report = HandlerReport { name: name.clone(), result, attempts, duration, reply };
        handler.metrics.handled(&report);
        report
    }

    /// Hands the event to the dead-letter sink. The handler has finished only if that has it.
    async fn bury(
        &self,
        handler: &RegisteredHandler,
        attempts: u32,
        failure: Failure,
    ) -> HandlerResult {
        let parts = &self.router.parts;
        let Some(sink) = &parts.dead_letters else { return Err(failure) };
        let (event, handler, at) = (&self.event, &*handler.name, parts.handlers.clock.wall());
        let letter = DeadLetter { event, handler, attempts, failure: &failure, at };
        match self.in_time(sink.keep(&letter)).await {
            Ok(()) => Err(failure),
            Err(error) => Err(Failure::retry(NotKept::new(&failure, error))),
        }
    }

    async fn record(&self, progress: HandlerProgress) {
        let store = match &self.router.parts.completions {
            Remembered::InMemory(memory) => return memory.remember(&self.key, progress),
            Remembered::Elsewhere(store) => store,
        };
        let handler = progress.handler.clone();
        if let Err(error) = self.in_time(store.record(&self.key, progress)).await {
            tracing::error!(
                handler = &*handler, event.id = self.event.id(), error = %Failure::retry(error),
                "how far the handler is could not be remembered; should Stripe send the event again, it runs again"
            );
        }
    }
}

fn finished(result: &HandlerResult, reply: Option<&Bytes>) -> Option<Completion> {
    match (result, reply) {
        (_, Some(json)) => Some(Completion::Replied(json.clone())),
        (Ok(Outcome::Done | Outcome::Replied(_)), _) => Some(Completion::Done),
        (Ok(Outcome::Ignored(_)), _) => Some(Completion::Ignored),
        (Err(failure), _) => failure.is_permanent().then_some(Completion::Dead),
    }
}

fn log_result(registered: &RegisteredHandler, event: &Event, again: Again, result: &HandlerResult) {
    let (handler, id, event_type) = (&*registered.name, event.id(), event.event_type());
    match result {
        Ok(Outcome::Done | Outcome::Replied(_)) => tracing::debug!(handler, "handler done"),
        Ok(Outcome::Ignored(reason)) => {
            tracing::info!(handler, %reason, "handler ignored the event");
        }
        Err(failure) if failure.is_permanent() => tracing::error!(
            handler, event.id = id, event.r#type = event_type, error = %failure,
            "dead letter: the handler failed for good, and Stripe will not send the event again; handle it by hand"
        ),
        Err(failure) if again == Again::Nobody => {
            telemetry::lost(&registered.name);
            tracing::error!(
                handler, event.id = id, event.r#type = event_type, error = %failure,
                "lost: the handler failed, the sink has not kept the event, and Stripe will not send it again; \
                 handle it by hand"
            );
        }
        Err(failure) => tracing::warn!(
            handler, event.id = id, event.r#type = event_type, error = %failure,
            "handler failed; Stripe will send the event again"
        ),
    }
}
