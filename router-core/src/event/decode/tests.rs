use std::{collections::BTreeMap, fmt::Debug, num::NonZeroU8};

use proptest::prelude::*;
use router_catalog::samples::Sampler;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, Unexpected, Visitor},
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

/// A text in the values and keys of the payload. No error may contain it.
const MARKER: &str = "jenny";

/// A number in the payload. No error may contain it.
const MARKED_NUMBER: i64 = 70_707_070;

/// A type that reads any value and then puts it into an error, in each way that serde has.
#[derive(Debug)]
struct Hostile<const WAY: u8>;

impl<'de, const WAY: u8> Deserialize<'de> for Hostile<WAY> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A visitor that shows a value in its expectation.
        struct Telling(String);
        impl Visitor<'_> for Telling {
            type Value = ();
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        let value = Value::deserialize(deserializer)?;
        let text = value.to_string();
        Err(match WAY {
            0 => D::Error::custom(text),
            1 => D::Error::invalid_type(Unexpected::Str(&text), &"another"),
            2 => D::Error::invalid_value(Unexpected::Other(&text), &&*text),
            3 => D::Error::invalid_value(Unexpected::Signed(MARKED_NUMBER), &Telling(text)),
            4 => D::Error::unknown_variant(&text, &[]),
            5 => D::Error::unknown_field(&text, &["a"]),
            6 => D::Error::invalid_length(MARKED_NUMBER as usize, &&*text),
            7 => serde_json::from_str::<u8>(&text)
                .map_err(D::Error::custom)
                .err()
                .unwrap_or_else(|| D::Error::custom(&text)),
            8 => D::Error::invalid_type(Unexpected::Bytes(text.as_bytes()), &Telling(text.clone())),
            _ => u8::deserialize(value).map_err(D::Error::custom).err().unwrap_or_else(|| {
                D::Error::invalid_value(Unexpected::Float(70_707_070.5), &text.as_str())
            }),
        })
    }
}

/// A type that passes the visitor of a hostile expectation to the deserializer.
#[derive(Debug)]
struct HostileVisitor;

impl<'de> Deserialize<'de> for HostileVisitor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs(String);
        impl<'de> Visitor<'de> for Pairs {
            type Value = HostileVisitor;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "not {}", self.0)
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<HostileVisitor, A::Error> {
                let first = items.next_element::<Value>()?;
                items.next_element_seed(Seed(first.unwrap_or_default().to_string()))?;
                Ok(HostileVisitor)
            }
        }
        struct Seed(String);
        impl<'de> serde::de::DeserializeSeed<'de> for Seed {
            type Value = HostileVisitor;
            fn deserialize<D: Deserializer<'de>>(
                self,
                json: D,
            ) -> Result<HostileVisitor, D::Error> {
                json.deserialize_u8(Pairs(self.0))
            }
        }
        deserializer.deserialize_seq(Pairs(String::new()))
    }
}

fn assert_no_marker<'de, T: Deserialize<'de>>(json: &'de str) {
    if let Err(error) = decode::<T>("data.object", Some(json)) {
        let text = format!("{error} {error:?}");
        for marker in [MARKER, &MARKED_NUMBER.to_string()] {
            assert!(!text.contains(marker), "{text}");
        }
    }
}

fn assert_hides_markers(json: &str) {
    macro_rules! hostile {
        ($($way:literal)+) => {
            $(
                assert!(read::<Hostile<$way>>(json).is_err(), "{json}");
                assert_no_marker::<Hostile<$way>>(json);
                assert_no_marker::<BTreeMap<String, Hostile<$way>>>(json);
                assert_no_marker::<Vec<Option<Hostile<$way>>>>(json);
            )+
        };
    }
    hostile! { 0 1 2 3 4 5 6 7 8 9 }
    assert_no_marker::<HostileVisitor>(json);
    assert_no_marker::<Vec<HostileVisitor>>(json);
    assert_no_marker::<BTreeMap<u8, BTreeMap<u8, u8>>>(json);
    assert_no_marker::<BTreeMap<String, BTreeMap<String, u8>>>(json);
    for_each_type!(assert_no_marker(json));
}

#[test]
fn values_like_words_of_errors_are_hidden() {
    for value in [
        r#"", expected `jenny`"#,
        "jenny at line 1 column 2",
        "unknown variant `jenny`, expected `a`",
        "invalid type: string \"jenny\", expected i64",
        "`jenny`, there are no variants",
        "\u{1b}[2Jjenny\n",
    ] {
        for json in [
            json!(value),
            json!([value, value]),
            json!({value: value}),
            json!({"a": value, "b": value}),
            json!({"a": 1, value: MARKED_NUMBER}),
            json!({"a": MARKED_NUMBER, "b": MARKED_NUMBER, "object": value}),
            json!({"object": [{"b": value}, {value: 1}]}),
            json!({"c": {"a": {value: [value]}, "c": {"b": value}}}),
        ] {
            assert_hides_markers(&json.to_string());
        }
    }
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
    let refused =
        "the type refuses the value; the reason is not shown, as it may contain the value";
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

proptest! {
    #[test]
    fn any_json_decodes_as_in_serde_json(
        json in json_of("[abc\"\\\\\u{e9}]{0,3}", "[abc1]|object"),
    ) {
        assert_all_agree(&json.to_string());
        assert_all_agree(&serde_json::to_string_pretty(&json)?);
    }

    #[test]
    fn no_error_contains_a_value_or_a_key(
        json in json_of("[\"`, ]?jenny( at line 1|`, expected `a`)?", "a|b|c|object|jenny[12]"),
        number: bool,
    ) {
        let json = match number {
            true => json!({"a": MARKED_NUMBER, "b": json, "jenny": MARKED_NUMBER}),
            false => json,
        };
        assert_hides_markers(&json.to_string());
    }
}
