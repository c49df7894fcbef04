//! What each of Stripe's objects looks like: its fields, and of which kind each is.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

/// The fields of an object, by name.
pub(super) type Fields = BTreeMap<String, Field>;

/// One field of an object.
#[derive(Debug, Deserialize)]
pub(super) struct Field {
    pub(super) kind: Kind,
    #[serde(default)]
    pub(super) nullable: bool,
    #[serde(default)]
    pub(super) optional: bool,
}

/// What a value is made of.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Kind {
    Plain(Plain),
    Described(Described),
}

/// A kind that a word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Plain {
    String,
    Number,
    Boolean,
    /// A number, written as a string.
    Decimal,
    /// From strings to strings, as in `metadata`.
    Map,
    /// An object that is not described further.
    Object,
    Unknown,
}

/// A kind that says what is in it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Described {
    /// One of some words, of which these are the first few.
    Enum(Vec<String>),
    Fields(Fields),
    Array(Box<Kind>),
    /// Stripe's list: `object`, `data`, `has_more`, `url`. `None`: of objects of several sorts.
    ListOf(Option<String>),
    /// The id of one of these objects.
    IdOf(Vec<String>),
    /// One of these objects itself.
    Object(String),
}

/// The fields of the object with this `object` value.
pub(super) fn of_object(name: &str) -> Option<(&'static str, &'static Fields)> {
    SHAPES.get_key_value(name).map(|(name, fields)| (name.as_str(), fields))
}

/// The object that has these fields, where they are described within another one.
pub(super) fn which_object(fields: &Fields) -> Option<&'static str> {
    match &fields.get("object")?.kind {
        Kind::Described(Described::Enum(words)) => of_object(words.first()?).map(|(name, _)| name),
        _ => None,
    }
}

/// Every object that is described.
pub(super) fn objects() -> impl Iterator<Item = &'static str> {
    SHAPES.keys().map(String::as_str)
}

static SHAPES: LazyLock<BTreeMap<String, Fields>> = LazyLock::new(|| {
    let files = [
        include_str!("../../data/object-shapes.json"),
        include_str!("../../data/more-shapes.json"),
        include_str!("../../data/envelope-shapes.json"),
    ];
    let shapes = files.map(|file| {
        serde_json::from_str::<BTreeMap<_, _>>(file).expect("the shapes are ours, and tested")
    });
    shapes.into_iter().flatten().collect()
});
