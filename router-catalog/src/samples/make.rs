//! Makes an object: first as its shape says, then as the rules say.

use serde_json::{Map, Value, json};

use super::{
    Sampler,
    path::{Path, Step},
    random::Random,
    rules::{Expression, Rule, identity, rules},
    set::Cursor,
    shape::{self, Described, Fields, Kind, Plain},
};

/// Makes objects of one seed, each as part of others.
#[derive(Clone, Copy)]
pub(super) struct Maker<'w> {
    pub(super) sampler: Sampler,
    /// The objects that what is made is part of: none of them is made within itself.
    pub(super) within: &'w [&'static str],
}

impl Maker<'_> {
    /// The object of this name, which has these fields.
    pub(super) fn object(self, name: &'static str, fields: &'static Fields) -> Value {
        let within = [self.within, &[name]].concat();
        let maker = Maker { within: &within, ..self };
        let mut object = maker.fields(fields, name);
        let here = object.as_object_mut().expect("fields are an object");
        here.insert("object".to_owned(), name.into());
        if let Some(id) = self.sampler.id(name).filter(|_| fields.contains_key("id")) {
            here.insert("id".to_owned(), id.into());
        }
        if let Some(rules) = rules().objects.get(name) {
            maker.apply(rules, &mut object, name);
        }
        object
    }

    /// Does to an object what the rules say.
    pub(super) fn apply(self, rules: &'static [Rule], object: &mut Value, name: &'static str) {
        for rule in rules {
            if let Err(error) = self.obey(rule, object, name) {
                // A test applies every rule there is.
                panic!("data/samples: on `{name}`: {error}");
            }
        }
    }

    fn obey(
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
            // The path must be one, but nothing is to be made on the way.
            self.slot(&mut object.clone(), Cursor::Object(name), path)?;
            remove(object, path);
            return Ok(());
        }
        let (slot, cursor) = self.slot(object, Cursor::Object(name), path)?;
        *slot = match value {
            Expression::Copy(_) => copied,
            Expression::Sample => self.one(cursor, &path.to_string()),
            value => self.evaluate(value, cursor.is_text(), &format!("{name}.{path}")),
        };
        Ok(())
    }

    /// What must be there of an object with these fields.
    fn fields(self, fields: &'static Fields, place: &str) -> Value {
        let there = fields.iter().filter(|(_, field)| !field.optional);
        let made = there.map(|(name, field)| {
            let value = if field.nullable {
                Value::Null
            } else {
                self.value(&field.kind, &format!("{place}.{name}"))
            };
            ((*name).to_owned(), value)
        });
        Value::Object(made.collect::<Map<_, _>>())
    }

    /// A value of this kind, at this place; the last name in it is that of its field.
    pub(super) fn value(self, kind: &'static Kind, place: &str) -> Value {
        let name = place.rsplit('.').next().unwrap_or(place);
        if name == "livemode" {
            return self.sampler.livemode.into();
        }
        let defaults = rules().fields.iter().rev().filter(|(glob, _)| glob.matches(name));
        let is_text = matches!(kind, Kind::Plain(Plain::String | Plain::Decimal));
        let mut fitting = defaults
            .map(|(_, default)| self.evaluate(default, is_text, place))
            .filter(|value| fits(value, kind));
        if let Some(default) = fitting.next() {
            return default;
        }
        match kind {
            Kind::Plain(plain) => match plain {
                // A test says that no sample has one of these.
                Plain::String => name.replace('_', " ").into(),
                Plain::Decimal => "0".into(),
                Plain::Number => 0.into(),
                Plain::Boolean => false.into(),
                Plain::Map | Plain::Object => json!({}),
                Plain::Unknown => Value::Null,
            },
            Kind::Described(described) => match described {
                Described::Enum(words) => words.first().cloned().into(),
                Described::Fields(fields) => match shape::which_object(fields) {
                    Some(name) => self.embedded(name),
                    None => self.fields(fields, place),
                },
                Described::Array(of) => match **of {
                    Kind::Plain(Plain::String) | Kind::Described(Described::Enum(_)) => {
                        json!([self.value(of, place)])
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

    /// One that is really there: an array with an element.
    pub(super) fn one(self, cursor: Cursor, place: &str) -> Value {
        match cursor {
            Cursor::Of(Kind::Described(Described::Array(of))) => json!([self.value(of, place)]),
            Cursor::Of(kind) => self.value(kind, place),
            Cursor::Object(name) => self.embedded(name),
            Cursor::Elements(Some(name)) => json!([self.embedded(name)]),
            Cursor::Elements(None) => json!([]),
            Cursor::Any => json!({}),
        }
    }

    fn list(self, of: Option<&'static str>, field: &str) -> Value {
        let element = of.map(|name| self.embedded(name)).filter(|element| !element.is_null());
        let parent = self.within.last().and_then(|name| self.sampler.url(name)).unwrap_or_default();
        let data: Vec<Value> = element.into_iter().collect();
        json!({"object": "list", "data": data, "has_more": false, "url": format!("{parent}/{field}")})
    }

    fn embedded(self, name: &'static str) -> Value {
        match shape::of_object(name) {
            Some((name, fields)) if !self.within.contains(&name) => self.object(name, fields),
            _ => Value::Null,
        }
    }

    /// What an expression comes to; times and amounts are text or numbers.
    pub(super) fn evaluate(self, value: &Expression, as_text: bool, place: &str) -> Value {
        match value {
            Expression::Json(value) => {
                self.filled_in(value, &mut Random::new(self.sampler.seed, place))
            }
            Expression::Now(later) => {
                let time = self.sampler.now.saturating_add_signed(*later);
                if as_text { rfc3339(time).into() } else { time.into() }
            }
            Expression::Amount(times, more) => {
                let amount = times * self.sampler.amount() + more;
                if as_text { amount.to_string().into() } else { amount.into() }
            }
            Expression::Copy(_) | Expression::Sample | Expression::Absent => Value::Null,
        }
    }

    /// JSON, with ids and letters where its strings have braces.
    fn filled_in(self, value: &Value, random: &mut Random) -> Value {
        match value {
            Value::String(text) => self.filled_in_text(text, random).into(),
            Value::Array(of) => of.iter().map(|value| self.filled_in(value, random)).collect(),
            Value::Object(of) => of
                .iter()
                .map(|(name, value)| (name.clone(), self.filled_in(value, random)))
                .collect(),
            other => other.clone(),
        }
    }

    fn filled_in_text(self, text: &str, random: &mut Random) -> String {
        let Some((before, rest)) = text.split_once('{') else { return text.to_owned() };
        let Some((inside, after)) = rest.split_once('}') else { return text.to_owned() };
        let filling = if let Some(length) = inside.strip_prefix('#') {
            length.parse().ok().map(|length| random.token(length))
        } else if let Some(length) = inside.strip_prefix("0#") {
            length.parse().ok().map(|length| random.digits(length))
        } else {
            self.sampler.id(inside)
        };
        match filling {
            Some(filling) => format!("{before}{filling}{}", self.filled_in_text(after, random)),
            // Braces of the text's own.
            None => format!("{before}{{{}", self.filled_in_text(rest, random)),
        }
    }
}

/// Takes a field away, if it is there.
fn remove(object: &mut Value, path: &Path) {
    let Some((Step::Key(last), parents)) = path.0.split_last() else { return };
    let parent = parents.iter().try_fold(object, |at, step| match step {
        Step::Key(name) => at.get_mut(name),
        Step::Index(index) => at.get_mut(index),
    });
    if let Some(parent) = parent.and_then(Value::as_object_mut) {
        parent.remove(last);
    }
}

fn fits(value: &Value, kind: &Kind) -> bool {
    match (value, kind) {
        (_, Kind::Plain(Plain::Object | Plain::Unknown))
        | (Value::String(_), Kind::Plain(Plain::String | Plain::Decimal))
        | (Value::Number(_), Kind::Plain(Plain::Number))
        | (Value::Bool(_), Kind::Plain(Plain::Boolean))
        | (Value::Object(_), Kind::Plain(Plain::Map)) => true,
        (Value::String(word), Kind::Described(Described::Enum(words))) => words.contains(word),
        (Value::Array(values), Kind::Described(Described::Array(of))) => {
            values.iter().all(|value| fits(value, of))
        }
        (Value::Object(values), Kind::Described(Described::Fields(fields))) => {
            values.keys().all(|name| fields.contains_key(name))
        }
        _ => false,
    }
}

/// As Stripe's v2 API writes times; the end of the year 9999 is the last that there is.
pub(super) fn rfc3339(seconds: u64) -> String {
    let seconds = seconds.min(253_402_300_799);
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_millis(time).to_string()
}

impl Sampler {
    /// How many amounts there are: seeds that are so far apart have different ids and one amount.
    pub const AMOUNTS: u64 = 8;

    /// The id that an object of this name has; `None` where it has none, or is not known.
    #[must_use]
    pub fn id(&self, object: &str) -> Option<String> {
        self.id_by(object, identity(object)?.prefix?)
    }

    /// An id of this object, another for each purpose.
    pub(super) fn id_by(&self, object: &str, purpose: &str) -> Option<String> {
        let identity = identity(object)?;
        let token = Random::new(self.seed, purpose).token(identity.length);
        let prefix = identity.prefix?;
        Some(match self.livemode {
            false => format!("{prefix}{token}"),
            // Of what is named for its mode, only a checkout session says `live`.
            true => {
                let prefix = prefix.replace("cs_test_", "cs_live_").replace("_test_", "_");
                format!("{prefix}{token}")
            }
        })
    }

    /// Where Stripe's API has the object of this name: `/v1/charges/ch_…`.
    pub(super) fn url(&self, object: &str) -> Option<String> {
        let template = identity(object)?.url;
        let own = template.replace("{id}", &format!("{{{object}}}"));
        let maker = Maker { sampler: *self, within: &[] };
        Some(maker.filled_in_text(&own, &mut Random::new(self.seed, object)))
    }

    /// What is paid, in cents: one amount for all objects of a seed.
    fn amount(&self) -> i64 {
        const AMOUNTS: [i64; Sampler::AMOUNTS as usize] =
            [2000, 1099, 4900, 1500, 12_500, 999, 7350, 30_000];
        AMOUNTS[(self.seed % Self::AMOUNTS) as usize]
    }
}
