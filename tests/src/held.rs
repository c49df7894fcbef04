//! A handler that waits until the test releases it.

use std::sync::Arc;

use router_core::{
    Event, Outcome,
    handler::{Handler, HandlerResult},
};
use tokio::sync::{Semaphore, mpsc};

/// A handler that reports its start, waits to be released, and reports its end.
#[derive(Clone)]
pub struct Held {
    progress: mpsc::UnboundedSender<&'static str>,
    permits: Arc<Semaphore>,
}

impl Held {
    /// Creates the handler and the receiver of its reports, `begun` and `done`.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<&'static str>) {
        let (progress, reports) = mpsc::unbounded_channel();
        (Self { progress, permits: Arc::new(Semaphore::new(0)) }, reports)
    }

    /// Releases one call, a waiting one or the next.
    pub fn release(&self) {
        self.permits.add_permits(1);
    }
}

#[async_trait::async_trait]
impl Handler for Held {
    async fn call(&self, _: Event) -> HandlerResult {
        self.progress.send("begun")?;
        self.permits.acquire().await?.forget();
        self.progress.send("done")?;
        Ok(Outcome::Done)
    }
}
