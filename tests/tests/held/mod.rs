//! A handler that the test holds and lets go.

use std::sync::Arc;

use router_core::{Event, Handler, HandlerResult, Outcome};
use tokio::sync::{Semaphore, mpsc};

/// A handler that says when it has begun, waits until it may go on, and says when it is done.
#[derive(Clone)]
pub(crate) struct Held {
    says: mpsc::UnboundedSender<&'static str>,
    may_go_on: Arc<Semaphore>,
}

impl Held {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<&'static str>) {
        let (says, heard) = mpsc::unbounded_channel();
        (Self { says, may_go_on: Arc::new(Semaphore::new(0)) }, heard)
    }

    /// Lets one call go on.
    pub(crate) fn release(&self) {
        self.may_go_on.add_permits(1);
    }
}

#[async_trait::async_trait]
impl Handler for Held {
    async fn call(&self, _: Event) -> HandlerResult {
        self.says.send("begun")?;
        self.may_go_on.acquire().await?.forget();
        self.says.send("done")?;
        Ok(Outcome::Done)
    }
}
