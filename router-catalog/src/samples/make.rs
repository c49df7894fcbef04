//! Creation of objects: sample values for the fields of the shape, then the rules, then the fields
//! that the user sets.

use serde_json::{Map, Value, json};

use super::{
    PathError, Sampler,
    cursor::Cursor,
    path::{Path, Step},
    random::Random,
    rules::{Expression, Rule, rules},
    shape::{self, Described, Fields, Kind, Plain},
};

/// Creates objects and values, nested in other objects.
#[derive(Clone, Copy)]
pub(super) struct Maker<'w> {
    pub(super) sampler: Sampler,
    /// The enclosing objects, outermost first. An object is never nested in itself.
    pub(super) ancestors: &'w [&'static str],
}

impl Maker<'_> {
    /// Creates the object with this name and these fields.
    pub(super) fn object(self, name: &'static str, fields: &'static Fields) -> Value {
        let ancestors = [self.ancestors, &[name]].concat();
        let maker = Maker { ancestors: &ancestors, ..self };
        let mut object = maker.fields(fields, name);
        let map = object.as_object_mut().expect("`fields` returns an object");
        map.insert("object".to_owned(), name.into());
        if let Some(id) = self.sampler.id(name).filter(|_| fields.contains_key("id")) {
            map.insert("id".to_owned(), id.into());
        }
        if let Some(rules) = rules().objects.get(name) {
            maker.apply(rules, &mut object, name);
        }
        object
    }

    /// Applies rules to an object.
    pub(super) fn apply(self, rules: &'static [Rule], object: &mut Value, name: &'static str) {
        for rule in rules {
            if let Err(error) = self.apply_rule(rule, object, name) {
                // The rules are part of this crate, and a test applies all of them.
                panic!("data/samples: on `{name}`: {error}");
            }
        }
    }

    fn apply_rule(
        self,
        Rule { path, value }: &'static Rule,
        object: &mut Value,
        name: &'static str,
    ) -> Result<(), PathError> {
        let copied = match value {
            Expression::Copy(from) => self.slot(object, Cursor::Object(name), from)?.0.clone(),
            _ => Value::Null,
        };
        if matches!(value, Expression::Absent) {
            // Checks the path on a copy, because `slot` creates missing parents.
            self.slot(&mut object.clone(), Cursor::Object(name), path)?;
            remove(object, path);
            return Ok(());
        }
        let (slot, cursor) = self.slot(object, Cursor::Object(name), path)?;
        *slot = match value {
            Expression::Copy(_) => copied,
            Expression::Sample => self.non_null(cursor, &path.to_string()),
            value => self.evaluate(value, cursor.is_text(), &format!("{name}.{path}")),
        };
        Ok(())
    }

    /// Creates an object with the required ones of these fields.
    fn fields(self, fields: &'static Fields, path: &str) -> Value {
        let required = fields.iter().filter(|(_, field)| !field.optional);
        let values = required.map(|(name, field)| {
            let value = if field.nullable {
                Value::Null
            } else {
                self.value(&field.kind, &format!("{path}.{name}"))
            };
            ((*name).to_owned(), value)
        });
        Value::Object(values.collect::<Map<_, _>>())
    }

    /// Creates a value of a type. The last name in the path is the field's name.
    pub(super) fn value(self, kind: &'static Kind, path: &str) -> Value {
        let name = path.rsplit('.').next().unwrap_or(path);
        if name == "livemode" {
            return self.sampler.livemode.into();
        }
        let defaults = rules().fields.iter().rev().filter(|(glob, _)| glob.matches(name));
        let is_text = matches!(kind, Kind::Plain(Plain::String | Plain::Decimal));
        let mut candidates = defaults
            .map(|(_, default)| self.evaluate(default, is_text, path))
            .filter(|value| is_of_kind(value, kind));
        if let Some(default) = candidates.next() {
            return default;
        }
        match kind {
            Kind::Plain(plain) => match plain {
                // Rules replace this filler; a test checks that no sample contains it.
                Plain::String => name.replace('_', " ").into(),
                Plain::Decimal => "0".into(),
                Plain::Number => 0.into(),
                Plain::Boolean => false.into(),
                Plain::Map | Plain::Object => json!({}),
                Plain::Unknown => Value::Null,
            },
            Kind::Described(described) => match described {
                Described::Enum(words) => words.first().cloned().into(),
                Described::Fields(fields) => match shape::name_of_fields(fields) {
                    Some(name) => self.embedded(name),
                    None => self.fields(fields, path),
                },
                Described::Array(element) => match **element {
                    Kind::Plain(Plain::String) | Kind::Described(Described::Enum(_)) => {
                        json!([self.value(element, path)])
                    }
                    _ => json!([]),
                },
                Described::ListOf(of) => self.list(of.as_deref(), name),
                Described::IdOf(objects) => {
                    objects.first().and_then(|object| self.sampler.id(object)).into()
                }
                Described::Object(object) => self.embedded(object),
            },
        }
    }

    /// Creates a value that is not null; an array gets one element.
    pub(super) fn non_null(self, cursor: Cursor, path: &str) -> Value {
        match cursor {
            Cursor::Typed(Kind::Described(Described::Array(element))) => {
                json!([self.value(element, path)])
            }
            Cursor::Typed(kind) => self.value(kind, path),
            Cursor::Object(name) => self.embedded(name),
            Cursor::Elements(Some(name)) => json!([self.embedded(name)]),
            Cursor::Elements(None) => json!([]),
            Cursor::Any => json!({}),
        }
    }

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
                    let next = cursor.field(name, &current_path)?;
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
                    let next = cursor.element();
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

    fn list(self, of: Option<&'static str>, field: &str) -> Value {
        let element = of.map(|name| self.embedded(name)).filter(|element| !element.is_null());
        let parent =
            self.ancestors.last().and_then(|name| self.sampler.url(name)).unwrap_or_default();
        let data: Vec<Value> = element.into_iter().collect();
        json!({"object": "list", "data": data, "has_more": false, "url": format!("{parent}/{field}")})
    }

    fn embedded(self, name: &'static str) -> Value {
        match shape::lookup(name) {
            Some((name, fields)) if !self.ancestors.contains(&name) => self.object(name, fields),
            _ => Value::Null,
        }
    }

    /// Evaluates an expression. `as_text` selects strings instead of numbers for times and amounts.
    pub(super) fn evaluate(self, value: &Expression, as_text: bool, path: &str) -> Value {
        match value {
            Expression::Json(value) => {
                self.sampler.expand(value, &mut Random::new(self.sampler.seed, path))
            }
            Expression::Now(offset) => {
                let time = self.sampler.now.saturating_add_signed(*offset);
                if as_text { rfc3339(time).into() } else { time.into() }
            }
            Expression::Amount(factor, offset) => {
                let amount = factor * self.sampler.amount() + offset;
                if as_text { amount.to_string().into() } else { amount.into() }
            }
            Expression::Copy(_) | Expression::Sample | Expression::Absent => Value::Null,
        }
    }
}

/// Removes a field, if it exists.
fn remove(object: &mut Value, path: &Path) {
    let Some((Step::Key(last), parents)) = path.0.split_last() else { return };
    let parent = parents.iter().try_fold(object, |value, step| match step {
        Step::Key(name) => value.get_mut(name),
        Step::Index(index) => value.get_mut(index),
    });
    if let Some(parent) = parent.and_then(Value::as_object_mut) {
        parent.remove(last);
    }
}

/// Returns whether a value has this type.
fn is_of_kind(value: &Value, kind: &Kind) -> bool {
    match (value, kind) {
        (_, Kind::Plain(Plain::Object | Plain::Unknown))
        | (Value::String(_), Kind::Plain(Plain::String | Plain::Decimal))
        | (Value::Number(_), Kind::Plain(Plain::Number))
        | (Value::Bool(_), Kind::Plain(Plain::Boolean))
        | (Value::Object(_), Kind::Plain(Plain::Map)) => true,
        (Value::String(word), Kind::Described(Described::Enum(words))) => words.contains(word),
        (Value::Array(values), Kind::Described(Described::Array(element))) => {
            values.iter().all(|value| is_of_kind(value, element))
        }
        (Value::Object(values), Kind::Described(Described::Fields(fields))) => {
            values.keys().all(|name| fields.contains_key(name))
        }
        _ => false,
    }
}

/// Formats a time like Stripe's v2 API, up to the end of the year 9999, the last that RFC 3339 can
/// represent.
pub(super) fn rfc3339(seconds: u64) -> String {
    let seconds = seconds.min(253_402_300_799);
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_millis(time).to_string()
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

fn entry<'m>(fields: &'m mut Map<String, Value>, name: &str) -> &'m mut Value {
    fields.entry(name).or_insert(Value::Null)
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
