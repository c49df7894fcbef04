//! The error of the reader. It cannot contain a value of the payload.

use std::{
    error::Error,
    fmt::{self, Write as _},
};

use serde::de::{self, Expected, Unexpected};

use super::super::error::Fault;

/// A value that does not match its type.
///
/// Only two kinds of texts from serde and the type are used: the names that the type declares,
/// which are static, and the expectation of a visitor without fields. (The visitors of serde and of
/// its derive have none, except that of an internally tagged enum.) A visitor with fields, a
/// string, and the text of a `custom` error are dropped, because they could contain a value.
#[derive(Debug)]
pub(super) struct Mismatch(Box<Inner>);

#[derive(Debug)]
struct Inner {
    /// The path to the value, from its end.
    path: Vec<Segment>,
    reason: String,
}

/// A segment of a path.
#[derive(Debug)]
pub(super) enum Segment {
    /// A field or a variant that the type declares.
    Name(&'static str),
    /// Any other key.
    AnyKey,
    Index(usize),
}

impl Mismatch {
    fn new(reason: impl Into<String>) -> Self {
        Self(Box::new(Inner { path: Vec::new(), reason: reason.into() }))
    }

    pub(super) fn no_character() -> Self {
        Self::new("an escape sequence encodes no character")
    }

    pub(super) fn unsuitable_number() -> Self {
        Self::new("the number does not fit the type")
    }

    pub(super) fn too_many_items() -> Self {
        Self::new("more items than expected")
    }

    pub(super) fn no_variant() -> Self {
        Self::new("an empty object, expected a variant")
    }

    pub(super) fn refused() -> Self {
        Self::new(
            "the type refuses the value; the reason is not shown, as it may contain the value: to see it, \
             decode the event with serde_json in a test",
        )
    }

    /// Moves the error into the object or array that contains the value.
    pub(super) fn within(mut self, segment: Segment) -> Self {
        self.0.path.push(segment);
        self
    }

    /// Returns the path, which is `.` for the whole text, and the reason.
    pub(super) fn into_parts(self) -> (String, String) {
        let Inner { path, reason } = *self.0;
        let mut text = String::new();
        for segment in path.iter().rev() {
            let dot = if text.is_empty() { "" } else { "." };
            // Writing to a `String` never fails.
            let _ = match segment {
                Segment::Name(name) => write!(text, "{dot}{name}"),
                Segment::AnyKey => write!(text, "{dot}*"),
                Segment::Index(index) => write!(text, "[{index}]"),
            };
        }
        (if text.is_empty() { ".".to_owned() } else { text }, reason)
    }
}

/// The envelope's scan has accepted the text. The reader therefore finds a fault only if it is not
/// at the end of a value: the type went on after an error inside the value.
impl From<Fault> for Mismatch {
    fn from(_: Fault) -> Self {
        Self::new(
            "the type ignores the error of a field that was read only in part: let it return the error, or decode \
             the field as a `serde_json::Value` first",
        )
    }
}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::refused()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("invalid type: {}{}", name(found), expectation(expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("invalid value: {}{}", name(found), expectation(expected)))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("invalid length{}", expectation(expected)))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown variant{}", one_of(expected)))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown field{}", one_of(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing field `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("duplicate field `{field}`"))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.reason)
    }
}

impl Error for Mismatch {}

/// Returns the name of the type of a value.
fn name(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "floating point",
        Unexpected::Char(_) | Unexpected::Str(_) => "string",
        Unexpected::Bytes(_) => "byte array",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "array",
        Unexpected::Map => "object",
        Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant => "variant",
        Unexpected::NewtypeStruct | Unexpected::Other(_) => "value",
    }
}

/// Returns `, expected` and the expectation, or nothing if the expectation could hold a value.
fn expectation(expected: &dyn Expected) -> String {
    if size_of_val(expected) == 0 { format!(", expected {expected}") } else { String::new() }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [] => ", expected none".to_owned(),
        [others @ .., last] if !others.is_empty() => {
            format!(", expected `{}` or `{last}`", others.join("`, `"))
        }
        [only, ..] => format!(", expected `{only}`"),
    }
}
