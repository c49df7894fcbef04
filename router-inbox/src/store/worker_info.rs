//! Running workers, as they report themselves to the store.

use std::sync::Arc;

/// A running worker.
///
/// A worker reports itself to its [`Store`](crate::Store), so that every process, and the operator,
/// can tell whether a handler's deliveries are waiting for a worker that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// The worker's name, which no other running worker has.
    pub name: Arc<str>,
    /// The stable names of the handlers whose deliveries the worker claims, including former names;
    /// sorted.
    pub handlers: Vec<Arc<str>>,
}

impl WorkerInfo {
    /// Creates the information about a worker. Sorts the handlers.
    pub fn new(name: impl Into<Arc<str>>, handlers: impl IntoIterator<Item = Arc<str>>) -> Self {
        let mut handlers: Vec<_> = handlers.into_iter().collect();
        handlers.sort_unstable();
        handlers.dedup();
        Self { name: name.into(), handlers }
    }

    /// Returns whether the worker claims the handler's deliveries.
    #[must_use]
    pub fn has_handler(&self, handler: &str) -> bool {
        self.handlers.binary_search_by(|name| (**name).cmp(handler)).is_ok()
    }
}
