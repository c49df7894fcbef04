//! Errors for payloads that are not events.

use std::{fmt, str::Utf8Error};

/// The maximum depth of nesting. Deeper texts are rejected, so that decoding in a handler cannot
/// overflow the stack.
///
/// It must be at most the number of bits of a `u128`, in which the scanner stores the open
/// brackets.
pub(super) const MAX_DEPTH: usize = 128;

/// An error for the body of an authentic request that is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not an event: {problem} (line {line}, column {column})")]
#[non_exhaustive]
pub struct EnvelopeError {
    /// The problem.
    pub problem: EnvelopeProblem,
    /// The line of the problem, from 1.
    pub line: usize,
    /// The column of the problem in bytes, from 1.
    pub column: usize,
}

/// An error for a platform's delivery that is not an event from Stripe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The input is not the platform's envelope. The caller must pass it unmodified.
    #[error(
        "the input is not an {platform} envelope: {problem} (line {line}, column {column}); pass the \
         platform's delivery unmodified"
    )]
    NotAnEnvelope {
        /// The platform.
        platform: &'static str,
        /// The problem.
        problem: EnvelopeProblem,
        /// The line of the problem, from 1.
        line: usize,
        /// The column of the problem in bytes, from 1.
        column: usize,
    },
    /// The input is an event without the platform's envelope, so its source is unknown. The caller,
    /// or the target's configuration, must deliver the envelope.
    #[error(
        "the input is a Stripe event without its {platform} envelope: deliver the whole envelope (in \
         EventBridge, a target without input path or transformer); pass the body of a webhook to an \
         `Endpoint`, which verifies it"
    )]
    NoEnvelope {
        /// The platform.
        platform: &'static str,
    },
    /// The event comes from another source. The rule or subscription on the platform must be
    /// changed.
    #[error(
        "the source of the {platform} envelope is {found:?}, not Stripe's `{expected}/…`: change the \
         rule or subscription to deliver only Stripe's events here"
    )]
    NotFromStripe {
        /// The platform.
        platform: &'static str,
        /// The prefix of the source of Stripe's events.
        expected: &'static str,
        /// The source in the envelope.
        found: String,
    },
    /// The input has several events, or none. The caller must pass each event separately.
    #[error("the array from {platform} has {events} events: pass each event separately")]
    Batch {
        /// The platform.
        platform: &'static str,
        /// The number of events.
        events: usize,
    },
    /// The envelope comes from Stripe, but does not hold an event. This is the sender's fault.
    #[error("the `{field}` of the {platform} envelope is not an event")]
    NotAnEvent {
        /// The platform.
        platform: &'static str,
        /// The envelope's field that should hold the event.
        field: &'static str,
        /// The problem with the field's value. Its line and column count from the value's
        /// beginning.
        #[source]
        error: EnvelopeError,
    },
}

/// A problem and the byte offset at which it was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) problem: EnvelopeProblem,
    pub(super) offset: usize,
}

impl Fault {
    pub(super) fn not_utf8(error: Utf8Error) -> Self {
        Self { problem: EnvelopeProblem::NotUtf8, offset: error.valid_up_to() }
    }
}

/// A problem with a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeProblem {
    /// The payload is not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// The payload is not JSON.
    #[error("it is not JSON: {0}")]
    Syntax(&'static str),
    /// Objects and arrays are nested too deeply.
    #[error("it is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The event is followed by more data.
    #[error("unexpected data after the end of the JSON")]
    TrailingBytes,
    /// A key that determines the event's meaning occurs twice.
    #[error("the key `{0}` occurs twice")]
    Duplicate(&'static str),
    /// A field that every event has is missing.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A field is empty that must not be.
    #[error("the field `{0}` is empty")]
    Empty(&'static str),
    /// The payload is JSON, but not an object.
    #[error("it should be an object, but is {0}")]
    NotAnObject(JsonType),
    /// A field has a value of the wrong type.
    #[error("the field `{field}` should be {expected}, but is {found}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// The type that the field should have.
        expected: JsonType,
        /// The type of the value in the payload.
        found: JsonType,
    },
    /// A field has a value of the right type that cannot be interpreted.
    #[error("the field `{field}` is not {expected}")]
    Unreadable {
        /// The field.
        field: &'static str,
        /// A description of a valid value.
        expected: &'static str,
    },
    /// The payload is an object of Stripe's that is not an event.
    #[error("its `object` is {0:?}, neither \"event\" nor \"v2.core.event\"")]
    NotAnEvent(String),
}

/// The type of a JSON value.
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
    pub(super) fn locate(payload: &[u8], Fault { problem, offset }: Fault) -> Self {
        let before = &payload[..offset];
        let line_start =
            before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Self {
            problem,
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: offset - line_start + 1,
        }
    }
}
