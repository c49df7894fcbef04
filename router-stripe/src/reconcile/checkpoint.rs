//! The checkpoint of a list, which an inbox stores.

use std::time::{Duration, SystemTime};

use super::EventSource;
use crate::Client;

/// Maximum time by which a checkpoint may be ahead of this machine's clock.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

impl EventSource {
    /// Returns the name under which an inbox stores the checkpoint of this list: the time up to
    /// which all of its events have been read. The name contains the mode of the client's key, so
    /// that a key of a sandbox does not set the checkpoint of live events.
    #[must_use]
    pub fn checkpoint_name(&self, client: &Client) -> String {
        let mode = if client.is_live() { "live" } else { "test" };
        format!("stripe-events/{mode}/{self}")
    }
}

/// Writes the time of a checkpoint, in RFC 3339.
#[must_use]
pub fn format_checkpoint(until: SystemTime) -> String {
    humantime::format_rfc3339_seconds(until).to_string()
}

/// Reads the time of a checkpoint. Returns `None` if the text is not one.
#[must_use]
pub fn parse_checkpoint(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

/// Returns whether a checkpoint is more than five minutes in the future, because a clock was wrong.
/// Until that time, nothing would be read.
#[must_use]
pub fn is_in_future(checkpoint: SystemTime, now: SystemTime) -> bool {
    checkpoint > now + MAX_CLOCK_SKEW
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiKey, reconcile::EventList};

    #[test]
    fn name_of_checkpoint_contains_mode() {
        let source = EventSource::new(EventList::Undelivered, "default").account("acct_1");
        for (key, name) in [
            ("rk_test_1", "stripe-events/test/v1/default/acct_1"),
            ("sk_live_1", "stripe-events/live/v1/default/acct_1"),
        ] {
            let client = Client::builder(ApiKey::new(key).unwrap()).build().unwrap();
            assert_eq!(source.checkpoint_name(&client), name);
        }
    }
}
