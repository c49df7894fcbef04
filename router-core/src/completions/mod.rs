//! What is remembered of events, so that one that is delivered again runs only what has not finished.

mod memory;

use std::{any::Any, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

pub use self::memory::InMemoryCompletions;
use crate::{event::EventKey, handler::BoxError};

/// Remembers how far the handlers of each event are, so that an event which Stripe sends again runs
/// only those that have not finished. [`InMemoryCompletions`] is the default, and forgets everything
/// when the process ends; a store of your own can outlive it, and be shared by several processes.
///
/// It remembers, and is no lock: two processes that get one event at the same moment both run its
/// handlers. (Within one process the router lets a duplicate wait for the first.)
///
/// It should remember for as long as Stripe tries again, three days, and may forget earlier: a handler
/// then runs again.
#[async_trait]
pub trait CompletionStore: Send + Sync + 'static {
    /// How far each handler is that has run for this event; none for one that is new.
    ///
    /// # Errors
    ///
    /// What kept it from being known. No handler runs then, and the event is answered with 503.
    async fn recall(&self, event: &EventKey) -> Result<Vec<HandlerProgress>, BoxError>;

    /// Remembers how far a handler is now, in place of what was remembered of it.
    ///
    /// # Errors
    ///
    /// What kept it from being remembered. It is logged at ERROR: should the event come again, the
    /// handler runs again.
    async fn record(&self, event: &EventKey, progress: HandlerProgress) -> Result<(), BoxError>;
}

/// Where a router remembers. The memory of this crate answers at once, so it is asked without a future.
pub(crate) enum Remembered {
    InMemory(Arc<InMemoryCompletions>),
    Elsewhere(Arc<dyn CompletionStore>),
}

impl Remembered {
    pub(crate) fn by(completions: impl CompletionStore) -> Self {
        let completions = Arc::new(completions);
        let any: Arc<dyn Any + Send + Sync> = completions.clone();
        match any.downcast() {
            Ok(memory) => Self::InMemory(memory),
            Err(_) => Self::Elsewhere(completions),
        }
    }
}

/// How far one handler is with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerProgress {
    /// The handler's stable name.
    pub handler: Arc<str>,
    /// How often it has run.
    pub attempts: u32,
    /// How it has finished, if it has.
    pub finished: Option<Completion>,
}

/// How a handler has finished with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completion {
    /// It is done.
    Done,
    /// It left the event alone.
    Ignored,
    /// It is done, and these bytes of JSON were its [`Reply`](crate::Reply): a duplicate gets them too.
    Replied(Bytes),
    /// It failed for good, and the dead-letter sink has the event.
    Dead,
}
