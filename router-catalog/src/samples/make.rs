//! Creation of objects: sample values for the fields of the shape, then the rules.

use serde_json::{Map, Value, json};

use super::{
    Sampler,
    path::{Path, Step},
    random::Random,
    rules::{Expression, Rule, identity, rules},
    set::Cursor,
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
    ) -> Result<(), super::PathError> {
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
                self.expand(value, &mut Random::new(self.sampler.seed, path))
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

    /// Returns JSON with the placeholders in its strings replaced by ids and random characters.
    fn expand(self, value: &Value, random: &mut Random) -> Value {
        match value {
            Value::String(text) => self.expand_text(text, random).into(),
            Value::Array(values) => values.iter().map(|value| self.expand(value, random)).collect(),
            Value::Object(values) => values
                .iter()
                .map(|(name, value)| (name.clone(), self.expand(value, random)))
                .collect(),
            other => other.clone(),
        }
    }

    fn expand_text(self, text: &str, random: &mut Random) -> String {
        let Some((before, rest)) = text.split_once('{') else { return text.to_owned() };
        let Some((inside, after)) = rest.split_once('}') else { return text.to_owned() };
        let replacement = if let Some(length) = inside.strip_prefix('#') {
            length.parse().ok().map(|length| random.token(length))
        } else if let Some(length) = inside.strip_prefix("0#") {
            length.parse().ok().map(|length| random.digits(length))
        } else {
            self.sampler.id(inside)
        };
        match replacement {
            Some(replacement) => {
                format!("{before}{replacement}{}", self.expand_text(after, random))
            }
            // Not a placeholder: the text contains a literal brace.
            None => format!("{before}{{{}", self.expand_text(rest, random)),
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
    /// The number of different amounts. Seeds that differ by a multiple of it have the same amount
    /// and different ids.
    pub const AMOUNTS: u64 = 8;

    /// Returns the id of the sample object with this name, or `None` if the object is not known or
    /// has no id.
    #[must_use]
    pub fn id(&self, object: &str) -> Option<String> {
        self.id_by(object, identity(object)?.prefix?)
    }

    /// Returns an id of an object, different for each purpose.
    pub(super) fn id_by(&self, object: &str, purpose: &str) -> Option<String> {
        let identity = identity(object)?;
        let token = Random::new(self.seed, purpose).token(identity.length);
        let prefix = identity.prefix?;
        Some(match self.livemode {
            false => format!("{prefix}{token}"),
            // Of the ids that contain `_test_`, only that of a checkout session has `_live_` in
            // live mode.
            true => {
                let prefix = prefix.replace("cs_test_", "cs_live_").replace("_test_", "_");
                format!("{prefix}{token}")
            }
        })
    }

    /// Returns the URL of an object in Stripe's API, such as `/v1/charges/ch_…`.
    pub(super) fn url(&self, object: &str) -> Option<String> {
        let template = identity(object)?.url;
        let url = template.replace("{id}", &format!("{{{object}}}"));
        let maker = Maker { sampler: *self, ancestors: &[] };
        Some(maker.expand_text(&url, &mut Random::new(self.seed, object)))
    }

    /// Returns the amount paid, in cents. It is the same for all objects of a seed.
    fn amount(&self) -> i64 {
        const AMOUNTS: [i64; Sampler::AMOUNTS as usize] =
            [2000, 1099, 4900, 1500, 12_500, 999, 7350, 30_000];
        AMOUNTS[(self.seed % Self::AMOUNTS) as usize]
    }
}
