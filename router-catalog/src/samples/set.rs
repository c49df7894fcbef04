//! Sets a field of a sample: by the object's shape, so that a name that it does not have is an error.

use serde_json::{Map, Value};

use super::{
    PathError, Sampler,
    make::Maker,
    path::{Path, Step},
    shape::{self, Described, Fields, Kind, Plain},
};

/// What is known of the value at a place.
#[derive(Clone, Copy)]
pub(super) enum Cursor {
    /// One of Stripe's objects.
    Object(&'static str),
    Of(&'static Kind),
    /// The `data` of a list of these objects.
    Elements(Option<&'static str>),
    /// It may be anything.
    Any,
}

impl Cursor {
    /// Whether a time is text here.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Of(Kind::Plain(Plain::String | Plain::Decimal)))
    }

    /// The fields that it has, where they are known.
    fn fields(self) -> Option<&'static Fields> {
        let name = match self {
            Self::Of(Kind::Described(Described::Fields(fields))) => return Some(fields),
            Self::Of(Kind::Described(Described::Object(name))) => name,
            Self::Object(name) => name,
            _ => return None,
        };
        shape::of_object(name).map(|(_, fields)| fields)
    }
}

impl Sampler {
    /// Sets a value in an object, by its shape if it has a name; or says why there is no such place.
    pub(super) fn set(
        &self,
        object: &mut Value,
        name: Option<&'static str>,
        path: &str,
        value: impl FnOnce(Cursor) -> Value,
    ) -> Result<(), PathError> {
        let path = Path::parse(path).ok_or_else(|| PathError::Unreadable(path.to_owned()))?;
        let maker = Maker { sampler: *self, within: name.as_slice() };
        let cursor = name.map_or(Cursor::Any, Cursor::Object);
        let (slot, cursor) = maker.slot(object, cursor, &path)?;
        *slot = value(cursor);
        Ok(())
    }
}

impl Maker<'_> {
    /// The value at this place; made, with all that it is in, where it was null or absent.
    pub(super) fn slot<'v>(
        self,
        mut value: &'v mut Value,
        mut cursor: Cursor,
        path: &Path,
    ) -> Result<(&'v mut Value, Cursor), PathError> {
        for (at, step) in path.0.iter().enumerate() {
            let here = || match (cursor, at) {
                (Cursor::Object(name), 0) => name.to_owned(),
                _ => Path(path.0[..at].to_vec()).to_string(),
            };
            if value.is_null() {
                *value = match (cursor, step) {
                    (Cursor::Any, Step::Index(_)) => Value::Array(Vec::new()),
                    _ => self.one(cursor, &here()),
                };
            }
            (value, cursor) = match step {
                Step::Key(name) => {
                    let next = field(cursor, name, &here)?;
                    let Value::Object(fields) = value else {
                        return Err(PathError::NoFields { place: here(), is: what(value) });
                    };
                    (entry(fields, name), next)
                }
                Step::Index(index) => {
                    let Value::Array(elements) = value else {
                        return Err(PathError::NoArray { place: here(), is: what(value) });
                    };
                    let of = element(cursor);
                    if *index == elements.len() {
                        elements.push(self.one(of, &here()));
                    }
                    let length = elements.len();
                    let place = elements.get_mut(*index);
                    (place.ok_or_else(|| PathError::TooFar { place: here(), length })?, of)
                }
            };
        }
        Ok((value, cursor))
    }
}

fn entry<'m>(fields: &'m mut Map<String, Value>, name: &str) -> &'m mut Value {
    fields.entry(name).or_insert(Value::Null)
}

/// What is known of a field, if there can be such a field.
fn field(cursor: Cursor, name: &str, place: &dyn Fn() -> String) -> Result<Cursor, PathError> {
    if let Some(fields) = cursor.fields() {
        return match fields.get(name) {
            Some(field) => Ok(Cursor::Of(&field.kind)),
            None => Err(unknown(name, place(), fields.keys().map(String::as_str))),
        };
    }
    match cursor {
        Cursor::Of(Kind::Described(Described::ListOf(of))) => match name {
            "data" => Ok(Cursor::Elements(of.as_deref())),
            "object" | "has_more" | "url" => Ok(Cursor::Any),
            _ => Err(unknown(name, place(), ["data", "has_more", "url"])),
        },
        Cursor::Of(Kind::Described(Described::IdOf(_))) => {
            Err(PathError::NoFields { place: place(), is: "the id of an object" })
        }
        // The rest is told by the value that is there.
        _ => Ok(Cursor::Any),
    }
}

fn element(cursor: Cursor) -> Cursor {
    match cursor {
        Cursor::Elements(Some(name)) => Cursor::Object(name),
        Cursor::Of(Kind::Described(Described::Array(of))) => Cursor::Of(of),
        _ => Cursor::Any,
    }
}

fn unknown(
    field: &str,
    place: String,
    known: impl IntoIterator<Item = &'static str> + Clone,
) -> PathError {
    PathError::UnknownField {
        field: field.to_owned(),
        place,
        nearest: crate::nearest_of(field, known.clone()),
        known: known.into_iter().collect(),
    }
}

fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
