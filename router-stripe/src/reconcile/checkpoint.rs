//! The checkpoint of a list, which an inbox stores.

use std::time::SystemTime;

use super::EventSource;

impl EventSource {
    /// Returns the name under which an inbox stores the checkpoint of this list: the time up to
    /// which all of its events have been read.
    #[must_use]
    pub fn checkpoint_name(&self) -> String {
        format!("stripe-events/{self}")
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
