//! Records which handlers have finished which events, so that an event that comes again runs only
//! the remaining handlers, and those with a dead letter.

mod memory;

use std::{any::Any, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

pub use self::memory::InMemoryCompletions;
use crate::{event::EventKey, handler::BoxError};

/// A store for the progress of each event's handlers, so that an event that comes again does not
/// run the handlers that have finished it. A handler with a [dead letter](Completion::Dead) starts
/// over.
///
/// Progress belongs to an [`EventKey`], which includes the endpoint, the account and the event
/// type. A store of your own can use the `Display` of the key as its own key. A thin event and its
/// [snapshot event](crate::Event::snapshot_event) have the same key, and share their progress.
///
/// The default, [`InMemoryCompletions`], is lost when the process ends. A store of your own can
/// outlive the process, and several processes can share it.
///
/// The store is not a lock: if two processes receive the same event at the same time, both run its
/// handlers. Within a process, the router makes a duplicate wait for the event in flight.
///
/// Entries should be retained for three days, the time for which Stripe redelivers an event. If an
/// entry is lost earlier, a redelivered event runs its handlers again.
///
/// A call that takes longer than the router's
/// [`handler_timeout`](crate::build::RouterBuilder::handler_timeout) counts as failed.
#[async_trait]
pub trait CompletionStore: Send + Sync + 'static {
    /// Returns the progress of each handler that has run for this event; empty for a new event.
    ///
    /// # Errors
    ///
    /// Fails if the progress cannot be loaded. The event is then answered with 503, and no handler
    /// runs.
    async fn load(&self, event: &EventKey) -> Result<Vec<HandlerProgress>, BoxError>;

    /// Records the progress of a handler, and replaces that handler's previous progress for this
    /// event.
    ///
    /// # Errors
    ///
    /// Fails if the progress cannot be recorded. The error is logged at ERROR, and the handler runs
    /// again if Stripe redelivers the event.
    async fn record(&self, event: &EventKey, progress: HandlerProgress) -> Result<(), BoxError>;
}

/// The completion store of a router.
///
/// [`InMemoryCompletions`] never waits, so the router calls it directly instead of through a boxed
/// future.
pub(crate) enum CompletionBackend {
    InMemory(Arc<InMemoryCompletions>),
    Custom(Arc<dyn CompletionStore>),
}

impl CompletionBackend {
    pub(crate) fn new(completions: impl CompletionStore) -> Self {
        let completions = Arc::new(completions);
        let any: Arc<dyn Any + Send + Sync> = completions.clone();
        match any.downcast() {
            Ok(memory) => Self::InMemory(memory),
            Err(_) => Self::Custom(completions),
        }
    }
}

/// The progress of a handler with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerProgress {
    /// The handler's stable name.
    pub handler: Arc<str>,
    /// The number of times the handler has run for the event, since its dead letter last started
    /// over.
    pub attempts: u32,
    /// The completion; `None` if the handler must run again.
    pub completion: Option<Completion>,
}

/// The completion of an event by a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completion {
    /// The handler is done.
    Done,
    /// The handler ignored the event.
    Ignored,
    /// The handler's [`Reply`](crate::Reply), or its default reply, as JSON. A duplicate of the
    /// event gets the same reply.
    Replied(Bytes),
    /// The handler failed permanently. The event is in the dead-letter sink, if there is one. The
    /// handler runs again if the event comes again, with one exception: another handler needs a
    /// retry, and the event has the API version of the failed run. Then it is a redelivery by
    /// Stripe, which would fail again.
    Dead {
        /// The [API version](crate::Event::api_version) of the event in the failed run. A thin
        /// event has none.
        api_version: Option<Arc<str>>,
    },
}
