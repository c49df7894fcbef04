use std::{collections::BTreeMap, fmt::Debug, num::NonZeroU8};

use proptest::prelude::*;
use router_catalog::samples::Sampler;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Visitor},
};
use serde_json::{Value, json, value::RawValue};

use super::{decode, reader::read};

/// Checks that this reader accepts what serde_json accepts, and reads the same value.
fn assert_agrees<'de, T: Deserialize<'de> + PartialEq + Debug>(json: &'de str) {
    let (ours, theirs) = (read::<T>(json), serde_json::from_str::<T>(json));
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{json}: {ours:?}, {theirs:?}");
    assert_eq!(ours.ok(), theirs.ok(), "{json}");
}

#[derive(Debug, PartialEq, Deserialize)]
struct Fields<'e> {
    a: Option<&'e str>,
    b: Option<i64>,
    c: Option<Box<Self>>,
    #[serde(default)]
    object: Vec<Word>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Flat {
    a: Option<Value>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    A,
    B(u8),
    C { a: bool },
    Object(u8, Option<char>),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(f64),
    Text(String),
    Pair(u8, Word),
    Fields { a: char, b: () },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "object")]
enum Tagged {
    A { a: i64 },
    B { b: Option<Value> },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    a: i128,
    b: Option<NonZeroU8>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Wrapped(BTreeMap<Wide, (Option<char>, Value)>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Wide(i64);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UnitWord {
    A,
    B,
}

/// A type that serde_json decodes by a private protocol of its own.
#[derive(Debug, Deserialize)]
struct Raw<'e> {
    #[serde(borrow)]
    a: Option<&'e RawValue>,
    b: Option<Box<RawValue>>,
}

impl PartialEq for Raw<'_> {
    fn eq(&self, other: &Self) -> bool {
        let text = |raw: &Self| format!("{:?} {:?}", raw.a, raw.b);
        text(self) == text(other)
    }
}

/// Bytes, from a string or from an array.
#[derive(Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl<'de> Visitor<'de> for BytesVisitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_owned()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = items.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

/// Calls a macro with each of the types.
macro_rules! for_each_type {
    ($call:ident($($argument:expr),*)) => {
        $call::<Fields<'_>>($($argument),*);
        $call::<Flat>($($argument),*);
        $call::<Vec<Either>>($($argument),*);
        $call::<Either>($($argument),*);
        $call::<BTreeMap<String, Tagged>>($($argument),*);
        $call::<Tagged>($($argument),*);
        $call::<Strict>($($argument),*);
        $call::<Wrapped>($($argument),*);
        $call::<Value>($($argument),*);
        $call::<(u8, Option<&str>)>($($argument),*);
        $call::<[Word; 2]>($($argument),*);
        $call::<Word>($($argument),*);
        $call::<BTreeMap<UnitWord, f32>>($($argument),*);
        $call::<BTreeMap<u8, Value>>($($argument),*);
        $call::<BTreeMap<Option<bool>, u128>>($($argument),*);
        $call::<BTreeMap<String, Bytes>>($($argument),*);
        $call::<Raw<'_>>($($argument),*);
    };
}

mod secrecy;

fn assert_all_agree(json: &str) {
    for_each_type!(assert_agrees(json));
}

#[test]
fn common_types_are_decoded() {
    let json = r#" { "a": "x", "id" : [ {"\u0061": "\"}"} , -1.5e3 ], "b":7, "c": {"a":null,"b":0},
        "object": ["a", {"b": 5}, {"c": {"a": true}}, {"c": [true]}, {"object": [1, "x"]}] } "#
        .trim();
    let fields = read::<Fields<'_>>(json).expect("the text is valid");
    assert_eq!(fields, serde_json::from_str(json).expect("the text is valid"));
    read::<Wrapped>(r#"{"-1":["x",{}]}"#).expect("keys of a newtype");
    read::<(u8, Option<&str>)>(r#"[1, null]"#).expect("an array");
    read::<BTreeMap<UnitWord, f32>>(r#"{"b":1.5}"#).expect("keys of an enum");
    read::<BTreeMap<Option<bool>, u128>>(r#"{"true":7}"#).expect("keys of booleans");
    read::<Vec<Box<RawValue>>>(r#"[{"a": 1}]"#).expect("a list of raw JSON");
    read::<Vec<Either>>(r#"[1, "x", {"a":"x","b":null}]"#).expect("every variant");
}

#[test]
fn corner_cases_agree_with_serde_json() {
    for json in [
        "[1]",
        "[1,null,2]",
        "[1,null",
        "[1,null]x",
        "[1 null]",
        "{}",
        "1",
        "null",
        "",
        r#""\ud800""#,
        r#"{"\ud800":1}"#,
        r#"{"a":"\ud800\u00e9","b":[1,255]}"#,
        r#"{"a":1e400}"#,
        r#"{"a":-0,"b":1.0e+5}"#,
        r#"{"a":170141183460469231731687303715884105727}"#,
        r#"{"a":340282366920938463463374607431768211455}"#,
        r#"{"7":1,"07":2}"#,
        r#"{"7 ":1}"#,
        r#"{" 7":1}"#,
        r#"{"\u0037":1}"#,
        r#"{"256":1}"#,
        r#"{"-0":1}"#,
        r#"{"1e1":1}"#,
        r#"{"true":1}"#,
        r#"{"\u0074rue":1}"#,
        r#"{"a":{"\u0061":[1, 2 ]} ,"b": "x"}"#,
        r#"{"b":{"x":1}}"#,
        r#"{"c":[true]}"#,
        r#"{"object":[1,null]}"#,
        r#"{"a":null}"#,
        r#"{"a":1,"b":5,"b":6}"#,
        r#""a""#,
        r#""\u0061""#,
        r#"["a",{"b":5}]"#,
    ] {
        assert_all_agree(json);
    }
}

#[test]
fn every_stripe_object_decodes_as_in_serde_json() {
    let sampler = Sampler::new(1, 1_700_000_000);
    for event_type in router_catalog::all() {
        let event = sampler
            .event(event_type.name)
            .expect("the catalog has samples of every event type")
            .into_json();
        assert_all_agree(&event.to_string());
        assert_all_agree(
            &serde_json::to_string_pretty(&event["data"]["object"]).expect("the text is valid"),
        );
    }
}

fn json_of(
    text: impl Strategy<Value = String> + 'static,
    key: impl Strategy<Value = String> + 'static,
) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
        Just(json!({"object": "A", "a": 1})),
    ];
    let key = key.boxed();
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn error_text<T: DeserializeOwned + Debug>(json: &str) -> String {
    decode::<T>("data.object", Some(json)).unwrap_err().to_string()
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "decoded but never read")]
struct Subject {
    amount: i64,
    status: Option<Status>,
    day: Option<NonZeroU8>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    lines: Vec<Word>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Active,
    PastDue,
}

#[test]
fn mismatch_error_names_path_without_value() {
    for (json, text) in [
        (r#"{"amount":"jenny@example.com"}"#, " at `amount`: invalid type: string, expected i64"),
        (r#"{"amount":2000.5}"#, " at `amount`: invalid type: floating point, expected i64"),
        (r#"{"amount":null}"#, " at `amount`: invalid type: null, expected i64"),
        (r#"{"amount":1e400}"#, " at `amount`: the number does not fit the type"),
        (r#"["jenny"]"#, " at `[0]`: invalid type: string, expected i64"),
        (r#"{"amount":1,"day":0}"#, " at `day`: invalid value: integer, expected a nonzero u8"),
        (r#"{"amount":1,"day":300}"#, " at `day`: invalid value: integer, expected a nonzero u8"),
        (
            r#"{"amount":1,"status":"paused"}"#,
            " at `status`: unknown variant, expected `active` or `past_due`",
        ),
        (
            r#"{"amount":1,"metadata":{"jenny":5}}"#,
            " at `metadata.*`: invalid type: integer, expected a string",
        ),
        (
            r#"{"amount":1,"metadata":{"jenny":5.5}}"#,
            " at `metadata.*`: invalid type: floating point, expected a string",
        ),
        (
            r#"{"amount":1,"lines":["a",{"c":{"\u0061":5}}]}"#,
            " at `lines[1].c.a`: invalid type: integer, expected a boolean",
        ),
        ("{}", ": missing field `amount`"),
        (r#"{"amount":1,"amount":2}"#, ": duplicate field `amount`"),
        ("\"jenny\"", ": invalid type: string, expected struct Subject"),
    ] {
        let expected = format!("`data.object` does not decode{text}");
        assert_eq!(error_text::<Subject>(json), expected, "{json}");
    }
    let refused = "the type refuses the value; the reason is not shown, as it may contain the value: to see it, decode \
                   the event with serde_json in a test";
    for (error, reason) in [
        (error_text::<std::net::IpAddr>(r#""jenny""#), refused),
        (error_text::<Either>("[]"), refused),
        (error_text::<(u8, u8)>("[1]"), "invalid length, expected a tuple of size 2"),
        (error_text::<(u8, u8)>("[1,2,3]"), "more items than expected"),
        (error_text::<Strict>(r#"{"jenny":1}"#), "unknown field, expected `a` or `b`"),
        (error_text::<String>(r#""\ud800""#), "an escape sequence encodes no character"),
    ] {
        assert_eq!(error, format!("`data.object` does not decode: {reason}"));
    }
}

/// A type that ignores any error of its field `a`.
#[derive(Debug, Default, PartialEq)]
struct Lenient {
    a: Option<(u8, u8)>,
    b: Option<u8>,
}

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LenientVisitor;
        impl<'de> Visitor<'de> for LenientVisitor {
            type Value = Lenient;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Lenient, A::Error> {
                let mut lenient = Lenient::default();
                while let Some(key) = map.next_key::<&str>()? {
                    match key {
                        "a" => lenient.a = map.next_value().ok(),
                        _ => lenient.b = map.next_value()?,
                    }
                }
                Ok(lenient)
            }
        }
        deserializer.deserialize_map(LenientVisitor)
    }
}

#[test]
fn ignored_error_is_accepted_only_if_the_value_was_read() {
    for value in ["1", r#""x""#, r#"{"x":1}"#, "null", "true", "[]"] {
        let json = format!(r#"{{"a":{value},"b":7}}"#);
        let lenient = read::<Lenient>(&json).expect("the value was read");
        assert_eq!(lenient, Lenient { a: None, b: Some(7) }, "{json}");
    }
    for value in [r#"["x",1]"#, r#"[1,"x"]"#, "[1,2,3]", "[1,[]]"] {
        let json = format!(r#"{{"a":{value},"b":7}}"#);
        let text = "`data.object` does not decode: the type ignores the error of a field that was read only in part: let \
                    it return the error, or decode the field as a `serde_json::Value` first";
        assert_eq!(error_text::<Lenient>(&json), text, "{json}");
    }
}

proptest! {
    #[test]
    fn any_json_decodes_as_in_serde_json(
        json in json_of("[abc\"\\\\\u{e9}]{0,3}", "[abc1]|object"),
    ) {
        assert_all_agree(&json.to_string());
        assert_all_agree(&serde_json::to_string_pretty(&json)?);
    }
}
