//! What makes a sample look like Stripe's: the rules of `data/samples/` and the ids of
//! `data/objects.tsv`, read once.
//!
//! ```text
//! # What follows is a comment.
//! [field]                              # how a field of this name is filled wherever one must be
//! currency = "usd"
//! [object invoice]                     # wherever an invoice is made
//! customer = sample                    # as its shape says, although it may be null or absent
//! total = $amount                      # what is paid; also `$amount+500` and `-$amount`
//! number = "{0#4}-{#8}"                # digits and letters by chance; `{customer}` is a customer's id
//! [event invoice.*]                    # the object of such an event
//! effective_at = $now-60               # seconds; in text, as RFC 3339 where the shape says text
//! amount_due = =total                  # what stands elsewhere in the object
//! footer = absent
//! [previous invoice.updated]           # what the object was before
//! [thin v1.invoice.*]                  # the thin event itself
//! ```
//!
//! Comments have lines of their own. Later rules win, and an event's win over an object's.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::Value;

use super::path::{Path, Step};

/// The files of rules, the general ones first.
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

/// All rules, each sort in the order of the files, in which later ones win.
#[derive(Default)]
pub(super) struct Rules {
    /// How a field of this name is filled, at any depth.
    pub(super) fields: Vec<(Glob, Expression)>,
    pub(super) objects: BTreeMap<&'static str, Vec<Rule>>,
    /// On the object of an event of such a type.
    pub(super) events: Vec<(Glob, Vec<Rule>)>,
    /// What the object was before.
    pub(super) previous: Vec<(Glob, Vec<Rule>)>,
    /// On a thin event itself.
    pub(super) thin: Vec<(Glob, Vec<Rule>)>,
}

/// What stands at a path.
pub(super) struct Rule {
    pub(super) path: Path,
    pub(super) value: Expression,
}

impl Rule {
    /// The object that it names, if it says which one an event carries: `object = "card"`.
    pub(super) fn named(&self) -> Option<&str> {
        match (self.path.0.as_slice(), &self.value) {
            ([Step::Key(name)], Expression::Json(Value::String(object))) if name == "object" => {
                Some(object)
            }
            _ => None,
        }
    }
}

/// A value, before it is known for which seed and when.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    /// JSON, with `{object}`, `{#24}` and `{0#4}` in its strings.
    Json(Value),
    /// This many seconds from now: `$now-60`.
    Now(i64),
    /// So many times what is paid, and so much more, in cents: `$amount+500`, `-$amount`.
    Amount(i64, i64),
    /// What stands at another path of the same object.
    Copy(Path),
    /// As the shape says, although it may be null or absent.
    Sample,
    Absent,
}

/// What an object's ids look like, and where Stripe's API has it.
pub(super) struct Identity {
    /// `pi_3`; none: it has no id.
    pub(super) prefix: Option<&'static str>,
    /// How many letters and digits follow.
    pub(super) length: usize,
    pub(super) url: &'static str,
}

/// A name in which each `*` stands for anything.
pub(super) struct Glob(&'static str);

impl Glob {
    pub(super) fn matches(&self, name: &str) -> bool {
        fn matches(glob: &str, name: &str) -> bool {
            match glob.split_once('*') {
                None => glob == name,
                Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
                    let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
                    ends.into_iter().any(|at| matches(rest, &name[at..]))
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

/// The rules of all files.
pub(super) fn rules() -> &'static Rules {
    static RULES: LazyLock<Rules> = LazyLock::new(|| {
        let mut rules = Rules::default();
        for (name, text) in FILES {
            if let Err((line, why)) = rules.read(text) {
                // A test reads them too.
                panic!("data/samples/{name}:{line}: {why}");
            }
        }
        rules
    });
    &RULES
}

/// What ids of this object look like, if it is known.
pub(super) fn identity(object: &str) -> Option<&'static Identity> {
    static IDENTITIES: LazyLock<BTreeMap<&'static str, Identity>> = LazyLock::new(|| {
        let rows = include_str!("../../data/objects.tsv").lines().skip(1);
        rows.map(|row| read_identity(row).unwrap_or_else(|| panic!("data/objects.tsv: {row:?}")))
            .collect()
    });
    IDENTITIES.get(object)
}

fn read_identity(row: &'static str) -> Option<(&'static str, Identity)> {
    let (object, rest) = row.split_once('\t')?;
    let (id, url) = rest.split_once('\t')?;
    let (prefix, length) = match id.split_once('#') {
        Some((prefix, length)) => (Some(prefix), length.parse().ok()?),
        None if id == "-" => (None, 0),
        // An id that is a word of Stripe's: `card_payments`.
        None => (Some(id), 0),
    };
    Some((object, Identity { prefix, length, url }))
}

impl Rules {
    fn read(&mut self, text: &'static str) -> Result<(), (usize, String)> {
        let mut section = ("", "");
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| (number, format!("{why}: {line}"));
            if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = header.split_once(' ').unwrap_or((header, ""));
                let (sort, name) = section;
                match sort {
                    "field" => {}
                    "object" => drop(self.objects.entry(name).or_default()),
                    "event" => self.events.push((Glob(name), Vec::new())),
                    "previous" => self.previous.push((Glob(name), Vec::new())),
                    "thin" => self.thin.push((Glob(name), Vec::new())),
                    _ => return Err(wrong("no such sort of section")),
                }
                continue;
            }
            let (path, value) =
                line.split_once(" = ").ok_or_else(|| wrong("not `path = value`"))?;
            let value = Expression::read(value.trim()).ok_or_else(|| wrong("not a value"))?;
            let path = path.trim();
            if section.0 == "field" {
                self.fields.push((Glob(path), value));
                continue;
            }
            let path = Path::parse(path).ok_or_else(|| wrong("not a path"))?;
            let rules = self.section(section).ok_or_else(|| wrong("before the first section"))?;
            rules.push(Rule { path, value });
        }
        Ok(())
    }

    /// The rules of the section that is being read.
    fn section(&mut self, (sort, name): (&str, &str)) -> Option<&mut Vec<Rule>> {
        let sections = match sort {
            "object" => return self.objects.get_mut(name),
            "event" => &mut self.events,
            "previous" => &mut self.previous,
            "thin" => &mut self.thin,
            _ => return None,
        };
        sections.last_mut().map(|(_, rules)| rules)
    }
}

impl Expression {
    fn read(text: &str) -> Option<Self> {
        // With its sign, or nothing.
        let more = |number: &str| if number.is_empty() { Some(0) } else { number.parse().ok() };
        Some(match text {
            "sample" => Self::Sample,
            "absent" => Self::Absent,
            _ => {
                if let Some(path) = text.strip_prefix('=') {
                    Self::Copy(Path::parse(path)?)
                } else if let Some(seconds) = text.strip_prefix("$now") {
                    Self::Now(more(seconds)?)
                } else if let Some(cents) = text.strip_prefix("$amount") {
                    Self::Amount(1, more(cents)?)
                } else if let Some(cents) = text.strip_prefix("-$amount") {
                    Self::Amount(-1, more(cents)?)
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
    fn a_star_stands_for_anything() {
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
    fn every_section_is_about_something_that_there_is() {
        let rules = rules();
        for name in rules.objects.keys() {
            assert!(super::super::shape::of_object(name).is_some(), "[object {name}]");
        }
        let sections = rules.events.iter().chain(&rules.previous).chain(&rules.thin);
        for glob in sections.map(|(glob, _)| glob) {
            assert!(crate::all().iter().any(|known| glob.matches(known.name)), "{}", glob.as_str());
        }
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_told_with_its_line() {
        for (text, line, why) in [
            ("[objects x]", 1, "no such sort of section: [objects x]"),
            ("a = 1", 1, "before the first section: a = 1"),
            ("[object x]\n\na: 1", 3, "not `path = value`: a: 1"),
            ("[object x]\na = one", 2, "not a value: a = one"),
            ("[object x]\na..b = 1", 2, "not a path: a..b = 1"),
        ] {
            assert_eq!(Rules::default().read(text), Err((line, why.to_owned())));
        }
    }
}
