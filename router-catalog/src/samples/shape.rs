//! Shapes of Stripe's objects: their fields and the fields' types.

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

/// The type of a value.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Kind {
    Plain(Plain),
    Described(Described),
}

/// A type without parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Plain {
    String,
    Number,
    Boolean,
    /// A decimal number, written as a string.
    Decimal,
    /// A map from strings to strings, such as `metadata`.
    Map,
    /// An object with unknown fields.
    Object,
    Unknown,
}

/// A type with parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Described {
    /// A string enum, with its first few values.
    Enum(Vec<String>),
    Fields(Fields),
    Array(Box<Kind>),
    /// Stripe's list (`object`, `data`, `has_more`, `url`) of one object, or `None` for a list of
    /// several.
    ListOf(Option<String>),
    /// The id of one of these objects.
    IdOf(Vec<String>),
    /// One of Stripe's objects.
    Object(String),
}

/// Returns the fields of the object with this `object` value.
pub(super) fn lookup(name: &str) -> Option<(&'static str, &'static Fields)> {
    SHAPES.get_key_value(name).map(|(name, fields)| (name.as_str(), fields))
}

/// Returns the name of the object that has these fields, if its shape is known. The SDK declares
/// some objects inline, as part of another object.
pub(super) fn name_of_fields(fields: &Fields) -> Option<&'static str> {
    match &fields.get("object")?.kind {
        Kind::Described(Described::Enum(words)) => lookup(words.first()?).map(|(name, _)| name),
        _ => None,
    }
}

/// Returns the names of all objects.
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
        serde_json::from_str::<BTreeMap<_, _>>(file).expect("shape files are valid JSON")
    });
    shapes.into_iter().flatten().collect()
});
