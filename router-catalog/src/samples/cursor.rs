//! The statically known types of the values in a sample. A path is checked against the shape of the
//! object, so an unknown field is an error.

use super::{
    PathError,
    shape::{self, Described, Fields, Kind, Plain},
};

/// The statically known type of the value at a path.
#[derive(Clone, Copy)]
pub(super) enum Cursor {
    /// One of Stripe's objects.
    Object(&'static str),
    /// A field of this type.
    Typed(&'static Kind),
    /// The `data` of a list of these objects.
    Elements(Option<&'static str>),
    /// A value of unknown type.
    Any,
}

impl Cursor {
    /// Returns whether the value is a string. Times and amounts are then written as text.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Typed(Kind::Plain(Plain::String | Plain::Decimal)))
    }

    /// Returns the value's fields, if they are known.
    fn fields(self) -> Option<&'static Fields> {
        let name = match self {
            Self::Typed(Kind::Described(Described::Fields(fields))) => return Some(fields),
            Self::Typed(Kind::Described(Described::Object(name))) => name,
            Self::Object(name) => name,
            _ => return None,
        };
        shape::lookup(name).map(|(_, fields)| fields)
    }

    /// Returns the type of a field, or an error if the value cannot have the field.
    pub(super) fn field(self, name: &str, path: &dyn Fn() -> String) -> Result<Self, PathError> {
        if let Some(fields) = self.fields() {
            return match fields.get(name) {
                Some(field) => Ok(Self::Typed(&field.kind)),
                None => Err(unknown_field(name, path(), fields.keys().map(String::as_str))),
            };
        }
        match self {
            Self::Typed(Kind::Described(Described::ListOf(of))) => match name {
                "data" => Ok(Self::Elements(of.as_deref())),
                "object" | "has_more" | "url" => Ok(Self::Any),
                _ => Err(unknown_field(name, path(), ["data", "has_more", "url"])),
            },
            Self::Typed(Kind::Described(Described::IdOf(_))) => {
                Err(PathError::NotAnObject { path: path(), found: "the id of an object" })
            }
            // `slot` checks the value itself.
            _ => Ok(Self::Any),
        }
    }

    /// Returns the type of the elements.
    pub(super) fn element(self) -> Self {
        match self {
            Self::Elements(Some(name)) => Self::Object(name),
            Self::Typed(Kind::Described(Described::Array(of))) => Self::Typed(of),
            _ => Self::Any,
        }
    }
}

fn unknown_field(
    field: &str,
    parent: String,
    known: impl IntoIterator<Item = &'static str> + Clone,
) -> PathError {
    PathError::UnknownField {
        field: field.to_owned(),
        parent,
        nearest: crate::nearest_of(field, known.clone()),
        known: known.into_iter().collect(),
    }
}
