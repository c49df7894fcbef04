//! The facts in an event that narrow down the cause of a mismatch.

use serde_json::Value;

/// The facts in an event that determine the endpoints it may be sent to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EventFacts {
    pub(crate) livemode: Option<bool>,
    pub(crate) is_thin: bool,
    pub(crate) is_connect: bool,
    /// `true` if the event contains U+FFFD, which stands for bytes that could not be decoded.
    pub(crate) has_lost_bytes: bool,
}

impl EventFacts {
    /// Reads the facts from a body. Returns `None` if the body is not an event.
    pub(super) fn from_body(body: &[u8]) -> Option<Self> {
        let event: Value = serde_json::from_slice(body).ok()?;
        let is_thin = match event.get("object")?.as_str()? {
            "event" => false,
            "v2.core.event" => true,
            _ => return None,
        };
        event.get("type")?.as_str()?;
        let text = |name| event.get(name).and_then(Value::as_str).unwrap_or_default();
        // The context of a thin event is an account or a path to one.
        let is_in_account = |context: &str| {
            context.rsplit('/').next().is_some_and(|account| account.starts_with("acct_"))
        };
        Some(Self {
            livemode: event.get("livemode").and_then(Value::as_bool),
            is_thin,
            is_connect: !text("account").is_empty() || is_in_account(text("context")),
            has_lost_bytes: String::from_utf8_lossy(body).contains('\u{fffd}'),
        })
    }
}
