//! Setting fields of a sample. Paths are checked against the object's shape, so an unknown field is
//! an error.

use serde_json::{Map, Value};

use super::{
    PathError, Sampler,
    make::Maker,
    path::{Path, Step},
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
}

impl Sampler {
    /// Sets a value in an object. With a `name`, the path is checked against the object's shape.
    pub(super) fn set(
        &self,
        object: &mut Value,
        name: Option<&'static str>,
        path: &str,
        value: impl FnOnce(Cursor) -> Value,
    ) -> Result<(), PathError> {
        let path = Path::parse(path).ok_or_else(|| PathError::InvalidPath(path.to_owned()))?;
        let maker = Maker { sampler: *self, ancestors: name.as_slice() };
        let cursor = name.map_or(Cursor::Any, Cursor::Object);
        let (slot, cursor) = maker.slot(object, cursor, &path)?;
        *slot = value(cursor);
        Ok(())
    }
}

impl Maker<'_> {
    /// Returns the value at a path. Null or absent parents are replaced by sample values.
    pub(super) fn slot<'v>(
        self,
        mut value: &'v mut Value,
        mut cursor: Cursor,
        path: &Path,
    ) -> Result<(&'v mut Value, Cursor), PathError> {
        for (depth, step) in path.0.iter().enumerate() {
            let current_path = || match (cursor, depth) {
                (Cursor::Object(name), 0) => name.to_owned(),
                _ => Path(path.0[..depth].to_vec()).to_string(),
            };
            if value.is_null() {
                *value = match (cursor, step) {
                    (Cursor::Any, Step::Index(_)) => Value::Array(Vec::new()),
                    _ => self.non_null(cursor, &current_path()),
                };
            }
            (value, cursor) = match step {
                Step::Key(name) => {
                    let next = field(cursor, name, &current_path)?;
                    let Value::Object(fields) = value else {
                        return Err(PathError::NotAnObject {
                            path: current_path(),
                            found: type_name(value),
                        });
                    };
                    (entry(fields, name), next)
                }
                Step::Index(index) => {
                    let Value::Array(elements) = value else {
                        return Err(PathError::NotAnArray {
                            path: current_path(),
                            found: type_name(value),
                        });
                    };
                    let next = element(cursor);
                    if *index == elements.len() {
                        elements.push(self.non_null(next, &current_path()));
                    }
                    let length = elements.len();
                    let element = elements.get_mut(*index).ok_or_else(|| {
                        PathError::IndexOutOfBounds { path: current_path(), length }
                    })?;
                    (element, next)
                }
            };
        }
        Ok((value, cursor))
    }
}

fn entry<'m>(fields: &'m mut Map<String, Value>, name: &str) -> &'m mut Value {
    fields.entry(name).or_insert(Value::Null)
}

/// Returns the type of a field, or an error if the value cannot have the field.
fn field(cursor: Cursor, name: &str, path: &dyn Fn() -> String) -> Result<Cursor, PathError> {
    if let Some(fields) = cursor.fields() {
        return match fields.get(name) {
            Some(field) => Ok(Cursor::Typed(&field.kind)),
            None => Err(unknown_field(name, path(), fields.keys().map(String::as_str))),
        };
    }
    match cursor {
        Cursor::Typed(Kind::Described(Described::ListOf(of))) => match name {
            "data" => Ok(Cursor::Elements(of.as_deref())),
            "object" | "has_more" | "url" => Ok(Cursor::Any),
            _ => Err(unknown_field(name, path(), ["data", "has_more", "url"])),
        },
        Cursor::Typed(Kind::Described(Described::IdOf(_))) => {
            Err(PathError::NotAnObject { path: path(), found: "the id of an object" })
        }
        // `slot` checks the value itself.
        _ => Ok(Cursor::Any),
    }
}

fn element(cursor: Cursor) -> Cursor {
    match cursor {
        Cursor::Elements(Some(name)) => Cursor::Object(name),
        Cursor::Typed(Kind::Described(Described::Array(of))) => Cursor::Typed(of),
        _ => Cursor::Any,
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

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
