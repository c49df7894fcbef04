//! No error contains a value or a key of the payload.

use serde::de::{Error as _, Unexpected};

use super::*;

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

proptest! {
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
