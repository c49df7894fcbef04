//! What can be wrong with a payload, and where.

use std::fmt;

use super::scanner::{Fault, MAX_DEPTH};

/// What an authentic request's body must be, and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the payload is no event: {problem} (line {line}, column {column})")]
#[non_exhaustive]
pub struct EnvelopeError {
    /// What is wrong.
    pub problem: EnvelopeProblem,
    /// Where: the line, from 1.
    pub line: usize,
    /// Where: the column in bytes, from 1.
    pub column: usize,
}

/// Why what a platform delivered is no event of Stripe's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Our fault: something else than the platform's envelope was given.
    #[error(
        "what was given is no envelope of {platform}: {problem} (line {line}, column {column}); give \
         it what the platform delivered, as it stands"
    )]
    NotAnEnvelope {
        /// The platform.
        platform: &'static str,
        /// What is wrong.
        problem: EnvelopeProblem,
        /// Where: the line, from 1.
        line: usize,
        /// Where: the column in bytes, from 1.
        column: usize,
    },
    /// Our fault: an event without the envelope, which says nothing of where it comes from.
    #[error(
        "what was given is an event of Stripe's without the envelope of {platform}: deliver the whole \
         envelope (in EventBridge, a target without input path or transformer); a webhook's body goes \
         through an `Endpoint`, which verifies it"
    )]
    NoEnvelope {
        /// The platform.
        platform: &'static str,
    },
    /// The fault of the platform's configuration: it delivers events of somebody else.
    #[error(
        "the envelope of {platform} comes from {found:?}, and Stripe's from `{expected}/…`: have only \
         Stripe's events delivered here, by the rule or subscription"
    )]
    NotFromStripe {
        /// The platform.
        platform: &'static str,
        /// What the source of Stripe's events begins with.
        expected: &'static str,
        /// The source.
        found: String,
    },
    /// Our fault: several events at once, or none.
    #[error("the array from {platform} has {events} events: pass each by itself")]
    Batch {
        /// The platform.
        platform: &'static str,
        /// How many events there are.
        events: usize,
    },
    /// The fault of the sender: in an envelope of Stripe's is no event of Stripe's.
    #[error("the `{field}` in the envelope of {platform} is no event")]
    NotAnEvent {
        /// The platform.
        platform: &'static str,
        /// The envelope's field that should hold the event.
        field: &'static str,
        /// What is wrong; line and column count from the beginning of the field's value.
        #[source]
        error: EnvelopeError,
    },
}

/// What is wrong with a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeProblem {
    /// The payload is not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// The payload is not JSON.
    #[error("it is not JSON: {0}")]
    Syntax(&'static str),
    /// Objects and arrays are nested too deep.
    #[error("it is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Something follows the event.
    #[error("something follows the end of the JSON")]
    TrailingBytes,
    /// A key that decides what the event is stands there twice.
    #[error("the key `{0}` stands there twice")]
    Duplicate(&'static str),
    /// A field that every event has is missing.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A field that must not be empty is.
    #[error("the field `{0}` is empty")]
    Empty(&'static str),
    /// The whole is something else than an object.
    #[error("it should be an object and is {0}")]
    NotAnObject(JsonType),
    /// A field holds something of the wrong type.
    #[error("the field `{field}` should be {expected} and is {found}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: JsonType,
        /// What it is.
        found: JsonType,
    },
    /// A string field that cannot be read.
    #[error("the field `{field}` should be {expected} and is not")]
    Unreadable {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The payload is another of Stripe's objects.
    #[error("its `object` is {0:?}, neither \"event\" nor \"v2.core.event\"")]
    NotAnEvent(String),
}

/// The types of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "JSON's own names")]
pub enum JsonType {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl fmt::Display for JsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Null => "null",
        })
    }
}

impl EnvelopeError {
    pub(super) fn locate(payload: &[u8], Fault { problem, at }: Fault) -> Self {
        let before = &payload[..at];
        let line_start =
            before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Self {
            problem,
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: at - line_start + 1,
        }
    }
}
