//! The future of a router's call, and the work in it that goes on when nobody waits for it any more.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::task::JoinHandle;

use super::{RouterError, in_flight::Answer};

/// Work whose only owner can hand it to a task.
pub(super) type Work = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The answer of a [`Router`](super::Router) to one delivery of an event. Other deliveries of the event wait
/// for it: do not keep one without polling it.
///
/// Dropped after it was first polled, it does not stop handlers that have begun: a client that hangs up
/// must not.
#[must_use = "no handler runs before it is polled"]
pub struct ReportFuture(State);

enum State {
    /// There is nothing to wait for.
    Answered(Answer),
    /// Handlers are to run. The first poll is made in place, because most of them are ready at once and
    /// a task costs more than they do.
    Begins(Work),
    /// Handlers that were not ready at once run in a task of their own.
    Runs(JoinHandle<Answer>),
    /// Somebody else runs the handlers.
    Waits(Work),
    Over,
}

impl ReportFuture {
    pub(super) fn answered(answer: Answer) -> Self {
        Self(State::Answered(answer))
    }

    pub(super) fn run(work: Work) -> Self {
        Self(State::Begins(work))
    }

    pub(super) fn wait(work: Work) -> Self {
        Self(State::Waits(work))
    }
}

impl Future for ReportFuture {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let state = match std::mem::replace(&mut self.0, State::Over) {
            State::Answered(answer) => return Poll::Ready(answer),
            State::Begins(mut work) => match work.as_mut().poll(context) {
                Poll::Ready(answer) => return Poll::Ready(answer),
                Poll::Pending => State::Runs(tokio::spawn(work)),
            },
            state => state,
        };
        self.0 = state;
        match &mut self.0 {
            // An error: the runtime was shut down before the handlers were done.
            State::Runs(task) => {
                Pin::new(task).poll(context).map(|done| done.unwrap_or(Err(RouterError::CutOff)))
            }
            State::Waits(work) => work.as_mut().poll(context),
            _ => panic!("a delivery was polled after it was answered"),
        }
    }
}

impl std::fmt::Debug for ReportFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReportFuture").finish_non_exhaustive()
    }
}
