//! The ping events of the stub.

use router_core::{
    http::Method,
    testing::{Payload, SyntheticEvent},
};

use super::{Answer, ReceivedRequest, StubStripe, Tables};
use crate::doctor::V2;

impl StubStripe {
    /// Waits for the next `POST` to `/v2/core/event_destinations/{id}/ping`, and returns the event
    /// of the answer. The stub sends the event nowhere: the test signs and delivers it. Cancel
    /// safe.
    pub async fn next_ping(&self) -> Payload {
        loop {
            let pinged = self.contents.pinged.notified();
            let ping = self.contents.tables().pings.pop_front();
            match ping {
                Some(event) => return event,
                None => pinged.await,
            }
        }
    }
}

impl Tables {
    /// Creates the ping event of an event destination. Returns `None` if the request is not for
    /// one, or if there is no such destination.
    pub(super) fn ping(&mut self, request: &ReceivedRequest) -> Option<Answer> {
        let path = request.path_only().strip_suffix("/ping")?;
        if request.method != Method::POST || !path.starts_with(V2) {
            return None;
        }
        let destination = self.find(request.account(), path)?;
        let event = SyntheticEvent::new("v2.core.event_destination.ping")
            .set("related_object.id", &destination["id"])
            .set("related_object.url", path)
            .livemode(destination["livemode"] == true)
            .build()
            .expect("the catalog has the type and its fields");
        let body = serde_json::from_slice(event.body()).expect("an event is JSON");
        self.pings.push_back(event);
        Some(Answer::ok(&body))
    }
}
