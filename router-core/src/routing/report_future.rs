//! The future of a router's call. Handlers that have started keep running after it is dropped.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::task::JoinHandle;

use super::{RouterError, in_flight::Answer};

/// A future that resolves to the answer. It is owned, so it can be moved to a task.
pub(super) type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The future returned by a [`Router`](super::Router)'s call.
///
/// Poll it promptly: duplicates of the event wait for it.
///
/// Handlers that have started are not canceled if the future is dropped, for example because the
/// client disconnects: at the first poll that is not ready, they are moved to a tokio task.
#[must_use = "no handler runs until the future is polled"]
pub struct ReportFuture(State);

enum State {
    /// The answer is available.
    Ready(Answer),
    /// The handlers have not started. The first poll runs them in place: most are ready at once,
    /// and spawning a task would cost more than they do.
    NotStarted(AnswerFuture),
    /// The handlers were not ready at the first poll and run in a task.
    Spawned(JoinHandle<Answer>),
    /// Another call runs the handlers.
    Waiting(AnswerFuture),
    Completed,
}

impl ReportFuture {
    pub(super) fn ready(answer: Answer) -> Self {
        Self(State::Ready(answer))
    }

    /// Runs the handlers when polled.
    pub(super) fn run(answer: AnswerFuture) -> Self {
        Self(State::NotStarted(answer))
    }

    /// Waits for the answer of another call.
    pub(super) fn wait(answer: AnswerFuture) -> Self {
        Self(State::Waiting(answer))
    }
}

impl Future for ReportFuture {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let state = match std::mem::replace(&mut self.0, State::Completed) {
            State::Ready(answer) => return Poll::Ready(answer),
            State::NotStarted(mut future) => match future.as_mut().poll(context) {
                Poll::Ready(answer) => return Poll::Ready(answer),
                Poll::Pending => State::Spawned(tokio::spawn(future)),
            },
            state => state,
        };
        self.0 = state;
        match &mut self.0 {
            // A join error means that the runtime was shut down: the task is never aborted, and
            // panics of handlers are caught.
            State::Spawned(task) => {
                let joined = Pin::new(task).poll(context);
                joined.map(|answer| answer.unwrap_or(Err(RouterError::RuntimeShutDown)))
            }
            State::Waiting(future) => future.as_mut().poll(context),
            _ => panic!("`ReportFuture` polled after completion"),
        }
    }
}

impl std::fmt::Debug for ReportFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReportFuture").finish_non_exhaustive()
    }
}
