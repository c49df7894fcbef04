//! [`WorkerInfo`], the record of a running worker in the store.

use std::sync::Arc;

/// A running worker.
///
/// A worker reports itself to its [`Store`](crate::Store), so that every process, and the operator,
/// can determine whether a running worker has a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// The worker's name, which is unique among the running workers.
    pub name: Arc<str>,
    /// The stable names of the handlers whose deliveries the worker claims, including former names.
    /// The names are sorted.
    pub handlers: Vec<Arc<str>>,
}

impl WorkerInfo {
    /// Creates the record of a worker. Sorts the handlers, and removes duplicates.
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
