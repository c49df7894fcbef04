//! A request that a test holds.

use std::sync::Arc;

use tokio::sync::Notify;

/// A request that the stub answers only after the test has released it, see
/// [`StubStripe::hold_at`](super::StubStripe::hold_at). Meanwhile the test can change the stub's
/// contents, for example between two pages of a list. Dropping it releases the request.
#[derive(Debug)]
pub struct Hold(pub(super) Arc<HeldRequest>);

#[derive(Debug, Default)]
pub(super) struct HeldRequest {
    arrived: Notify,
    released: Notify,
}

impl Hold {
    /// Waits until the request has arrived.
    pub async fn arrived(&self) {
        self.0.arrived.notified().await;
    }

    /// Lets the stub answer the request.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.released.notify_one();
    }
}

impl HeldRequest {
    /// Reports the arrival, and waits for the release.
    pub(super) async fn wait(&self) {
        self.arrived.notify_one();
        self.released.notified().await;
    }
}
