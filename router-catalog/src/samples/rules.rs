//! Rules that make samples realistic, from `data/samples/`, and the formats of ids, from
//! `data/objects.tsv`. Both are parsed once.
//!
//! ```text
//! # A comment.
//! [field]                     # default for required fields of this name, in any object
//! currency = "usd"
//! [object invoice]            # every invoice
//! customer = sample           # a sample value of the field's type, even if it is optional
//! total = $amount             # the amount paid; also `$amount+500` and `-$amount`
//! number = "{0#4}-{#8}"       # 4 random digits, 8 random letters or digits; `{customer}`: an id
//! [event invoice.*]           # the object of an event of a matching type
//! effective_at = $now-60      # in seconds; RFC 3339 if the field is a string
//! amount_due = =total         # copies another field of the object
//! footer = absent             # removes the field
//! [previous invoice.updated]  # the event's `previous_attributes`
//! [envelope account.*]        # the event itself, beside its object
//! [thin v1.invoice.*]         # the thin event itself
//! ```
//!
//! In the files, a comment must be on its own line. Later rules override earlier ones, and rules
//! for an event override those for its object.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::Value;

use super::path::{Path, Step};
use crate::objects::{ObjectRow, rows};

/// The rule files, in the order in which they apply.
const FILES: [(&str, &str); 8] = [
    ("fields.txt", include_str!("../../data/samples/fields.txt")),
    ("billing.txt", include_str!("../../data/samples/billing.txt")),
    ("connect.txt", include_str!("../../data/samples/connect.txt")),
    ("issuing.txt", include_str!("../../data/samples/issuing.txt")),
    ("payments.txt", include_str!("../../data/samples/payments.txt")),
    ("products.txt", include_str!("../../data/samples/products.txt")),
    ("v2.txt", include_str!("../../data/samples/v2.txt")),
    ("more.txt", include_str!("../../data/samples/more.txt")),
];

/// All rules, grouped by kind of section, in the order of the files. Later rules override earlier
/// ones.
#[derive(Default)]
pub(super) struct Rules {
    /// Defaults by field name, at any depth.
    pub(super) fields: Vec<(Glob, Expression)>,
    pub(super) objects: BTreeMap<&'static str, Vec<Rule>>,
    /// Rules for the object of an event, by event type.
    pub(super) events: Vec<(Glob, Vec<Rule>)>,
    /// Rules for `previous_attributes`, by event type.
    pub(super) previous: Vec<(Glob, Vec<Rule>)>,
    /// Rules for the fields of a snapshot event beside its data, by event type.
    pub(super) envelopes: Vec<(Glob, Vec<Rule>)>,
    /// Rules for the thin event itself, by event type.
    pub(super) thin: Vec<(Glob, Vec<Rule>)>,
}

/// An assignment of a value to a path.
pub(super) struct Rule {
    pub(super) path: Path,
    pub(super) value: Expression,
}

impl Rule {
    /// Returns the object that the rule selects for events that can carry several, as in
    /// `object = "card"`.
    pub(super) fn selected_object(&self) -> Option<&str> {
        match (self.path.0.as_slice(), &self.value) {
            ([Step::Key(name)], Expression::Json(Value::String(object))) if name == "object" => {
                Some(object)
            }
            _ => None,
        }
    }
}

/// An expression for a value, to be evaluated for a seed and a time.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    /// JSON, with the placeholders `{object}`, `{#24}` and `{0#4}` in its strings.
    Json(Value),
    /// The current time plus an offset in seconds: `$now-60`.
    Now(i64),
    /// The amount paid, times a factor, plus an offset in cents: `$amount+500`, `-$amount`.
    Amount(i64, i64),
    /// A copy of the value at another path of the same object.
    Copy(Path),
    /// A sample value of the field's type, even if the field is nullable or optional.
    Sample,
    /// Removes the field.
    Absent,
}

/// The format of an object's ids, and the object's URL in Stripe's API.
pub(super) struct Identity {
    /// The prefix of the id, such as `pi_3`; `None` if the object has no id.
    pub(super) prefix: Option<&'static str>,
    /// The number of random letters and digits after the prefix.
    pub(super) length: usize,
    pub(super) url: Option<&'static str>,
}

/// A name pattern in which each `*` matches any text.
pub(super) struct Glob(&'static str);

impl Glob {
    pub(super) fn matches(&self, name: &str) -> bool {
        fn matches(glob: &str, name: &str) -> bool {
            match glob.split_once('*') {
                None => glob == name,
                Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
                    let ends = name.char_indices().map(|(index, _)| index).chain([name.len()]);
                    ends.into_iter().any(|end| matches(rest, &name[end..]))
                }),
            }
        }
        matches(self.0, name)
    }

    #[cfg(test)]
    pub(super) fn as_str(&self) -> &'static str {
        self.0
    }
}

/// Returns the rules of all files.
pub(super) fn rules() -> &'static Rules {
    static RULES: LazyLock<Rules> = LazyLock::new(|| {
        let mut rules = Rules::default();
        for (name, text) in FILES {
            if let Err((line, message)) = rules.parse(text) {
                // The files are part of this crate, and tests parse them.
                panic!("data/samples/{name}:{line}: {message}");
            }
        }
        rules
    });
    &RULES
}

/// Returns the identity of an object, if it is known.
pub(super) fn identity(object: &str) -> Option<&'static Identity> {
    static IDENTITIES: LazyLock<BTreeMap<&'static str, Identity>> =
        LazyLock::new(|| rows().map(|row| (row.name, Identity::new(&row))).collect());
    IDENTITIES.get(object)
}

impl Identity {
    fn new(row: &ObjectRow) -> Self {
        let (prefix, length) = match row.id.split_once('#') {
            // The table is part of this crate, and tests read it.
            Some((prefix, length)) => (Some(prefix), length.parse().expect("length is a number")),
            None if row.id == "-" => (None, 0),
            // A fixed id, such as `card_payments`.
            None => (Some(row.id), 0),
        };
        Self { prefix, length, url: row.path() }
    }
}

impl Rules {
    fn parse(&mut self, text: &'static str) -> Result<(), (usize, String)> {
        let mut section = ("", "");
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let error = |message: &str| (number, format!("{message}: {line}"));
            if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = header.split_once(' ').unwrap_or((header, ""));
                let (kind, name) = section;
                match kind {
                    "field" => {}
                    "object" => drop(self.objects.entry(name).or_default()),
                    "event" => self.events.push((Glob(name), Vec::new())),
                    "previous" => self.previous.push((Glob(name), Vec::new())),
                    "envelope" => self.envelopes.push((Glob(name), Vec::new())),
                    "thin" => self.thin.push((Glob(name), Vec::new())),
                    _ => return Err(error("unknown section")),
                }
                continue;
            }
            let (path, value) =
                line.split_once(" = ").ok_or_else(|| error("expected `path = value`"))?;
            let value = Expression::parse(value.trim()).ok_or_else(|| error("invalid value"))?;
            let path = path.trim();
            if section.0 == "field" {
                self.fields.push((Glob(path), value));
                continue;
            }
            let path = Path::parse(path).ok_or_else(|| error("invalid path"))?;
            let rules = self.section(section).ok_or_else(|| error("before the first section"))?;
            rules.push(Rule { path, value });
        }
        Ok(())
    }

    /// Returns the rules of the section that is being parsed.
    fn section(&mut self, (kind, name): (&str, &str)) -> Option<&mut Vec<Rule>> {
        let sections = match kind {
            "object" => return self.objects.get_mut(name),
            "event" => &mut self.events,
            "previous" => &mut self.previous,
            "envelope" => &mut self.envelopes,
            "thin" => &mut self.thin,
            _ => return None,
        };
        sections.last_mut().map(|(_, rules)| rules)
    }
}

impl Expression {
    fn parse(text: &str) -> Option<Self> {
        // A number with its sign, or an empty string.
        let offset = |number: &str| if number.is_empty() { Some(0) } else { number.parse().ok() };
        Some(match text {
            "sample" => Self::Sample,
            "absent" => Self::Absent,
            _ => {
                if let Some(path) = text.strip_prefix('=') {
                    Self::Copy(Path::parse(path)?)
                } else if let Some(seconds) = text.strip_prefix("$now") {
                    Self::Now(offset(seconds)?)
                } else if let Some(cents) = text.strip_prefix("$amount") {
                    Self::Amount(1, offset(cents)?)
                } else if let Some(cents) = text.strip_prefix("-$amount") {
                    Self::Amount(-1, offset(cents)?)
                } else {
                    Self::Json(serde_json::from_str(text).ok()?)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_text() {
        for (glob, name) in [
            ("invoice.*", "invoice.paid"),
            ("*.deleted", "customer.source.deleted"),
            ("customer.*.updated", "customer.tax_id.updated"),
            ("*", "anything"),
            ("a", "a"),
        ] {
            assert!(Glob(glob).matches(name), "{glob} {name}");
        }
        for (glob, name) in [("invoice.*", "invoice"), ("*.paid", "invoice.paid_out"), ("a", "ab")]
        {
            assert!(!Glob(glob).matches(name), "{glob} {name}");
        }
    }

    #[test]
    fn sections_name_known_objects_and_event_types() {
        let rules = rules();
        for name in rules.objects.keys() {
            assert!(super::super::shape::lookup(name).is_some(), "[object {name}]");
        }
        let sections = rules.events.iter().chain(&rules.previous).chain(&rules.thin);
        let sections = sections.chain(&rules.envelopes);
        for glob in sections.map(|(glob, _)| glob) {
            assert!(crate::all().iter().any(|known| glob.matches(known.name)), "{}", glob.as_str());
        }
    }

    #[test]
    fn parse_error_has_line_number() {
        for (text, line, message) in [
            ("[objects x]", 1, "unknown section: [objects x]"),
            ("a = 1", 1, "before the first section: a = 1"),
            ("[object x]\n\na: 1", 3, "expected `path = value`: a: 1"),
            ("[object x]\na = one", 2, "invalid value: a = one"),
            ("[object x]\na..b = 1", 2, "invalid path: a..b = 1"),
        ] {
            assert_eq!(Rules::default().parse(text), Err((line, message.to_owned())));
        }
    }
}
