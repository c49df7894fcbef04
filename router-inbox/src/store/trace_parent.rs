//! The trace context of the request that stored an event.

use std::sync::Arc;

/// The trace context of a request, in the format of the header
/// [`traceparent`](https://www.w3.org/TR/trace-context/#traceparent-header). It consists of a
/// version, the id of the trace, the id of the request's span, and flags.
///
/// It identifies a request, and contains no data of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(Arc<str>);

/// The version of the format. Later versions may have further parts.
const VERSION: &str = "00";

impl TraceParent {
    /// Parses the value of the header. Returns `None` if it is not valid in version 00.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        let &[VERSION, trace, span, flags] = &parts[..] else { return None };
        let is_hex = |part: &str, length: usize| {
            part.len() == length
                && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_id =
            |part: &str, length| is_hex(part, length) && part.bytes().any(|byte| byte != b'0');
        (is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2)).then(|| Self(text.into()))
    }

    /// Returns the value of the header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::TraceParent;

    #[test]
    fn only_valid_version_00_is_parsed() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceParent::parse(valid).unwrap().as_str(), valid);
        for invalid in [
            "",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert_eq!(TraceParent::parse(invalid), None, "{invalid}");
        }
    }
}
