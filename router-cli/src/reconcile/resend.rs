//! Asks Stripe to deliver an event again.

use std::time::Duration;

use router_core::{
    Event,
    clock::{Clock as _, SystemClock},
};
use router_stripe::{Client, reconcile::EventSource};

use super::PERMISSIONS;
use crate::{
    error::Error,
    stripe::{explain, one_line},
};

/// Pause after each request: at most 10 per second, of Stripe's limit of 100 for all requests of an
/// account.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks Stripe to deliver events again to one webhook endpoint.
pub(super) struct Resend<'r> {
    client: &'r Client,
    webhook_endpoint: &'r str,
}

impl<'r> Resend<'r> {
    pub(super) fn new(client: &'r Client, webhook_endpoint: &'r str) -> Self {
        Self { client, webhook_endpoint }
    }

    /// Asks Stripe to deliver an event again, as `stripe events resend` of Stripe's CLI does.
    pub(super) async fn send(&self, event: &Event, source: &EventSource) -> Result<(), Error> {
        // An id with `/` or `..` would lead to another request of the API.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !event.id().bytes().all(is_plain) {
            let id = one_line(event.id());
            return Err(Error::Refused(format!("{id} is not an id that Stripe can deliver again")));
        }
        let mut request = self
            .client
            .post(format!("/v1/events/{}/retry", event.id()))
            .form("webhook_endpoint", self.webhook_endpoint);
        if let Some(account) = source.connected_account() {
            request = request.form("account", account);
        }
        request.send().await.map_err(|error| explain(&error, PERMISSIONS))?;
        SystemClock.sleep(PAUSE).await;
        Ok(())
    }
}
