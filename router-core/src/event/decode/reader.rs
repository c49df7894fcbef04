//! A deserializer that decodes JSON as serde_json does, but skips ignored fields faster. Most
//! fields of an object are ignored, because a handler's type has only the few fields that it needs.
//!
//! It walks objects and arrays itself and leaves every other value to serde_json. Its errors
//! carry no text, because the caller then decodes again with serde_json.

use std::borrow::Cow;

use serde::{
    Deserialize,
    de::{
        DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess, SeqAccess,
        Visitor, value::BorrowedStrDeserializer,
    },
};
use serde_json::Error;

use super::super::{
    error::JsonType,
    scanner::{ItemPosition, Scanner},
};

/// Decodes a JSON text that has no surrounding white space.
pub(super) fn read<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, Error> {
    let mut scanner = Scanner::new(json);
    let value = T::deserialize(Reader { json, scanner: &mut scanner })?;
    scanner.end().map_err(fall_back)?;
    Ok(value)
}

/// A deserializer for the next value.
struct Reader<'de, 's> {
    json: &'de str,
    scanner: &'s mut Scanner<'de>,
}

impl<'de, 's> Reader<'de, 's> {
    /// Returns a serde_json deserializer for the next value.
    fn value(self) -> Result<serde_json::Deserializer<serde_json::de::StrRead<'de>>, Error> {
        let value = self.scanner.value().map_err(fall_back)?;
        Ok(serde_json::Deserializer::from_str(&self.json[value.range()]))
    }

    /// Opens the next value, which must be an object or an array with these brackets.
    fn items(self, [open, close]: [u8; 2]) -> Result<Items<'de, 's>, Error> {
        if self.scanner.peek() != Some(open) {
            return Err(fall_back(()));
        }
        self.scanner.open().map_err(fall_back)?;
        Ok(Items {
            json: self.json,
            scanner: self.scanner,
            position: ItemPosition::First,
            close,
            ended: false,
        })
    }

    fn string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = self.scanner.value().map_err(fall_back)?;
        let text = &self.json[value.range()];
        if value.kind == JsonType::String && !value.escaped {
            return visitor.visit_borrowed_str(&text[1..text.len() - 1]);
        }
        serde_json::Deserializer::from_str(text).deserialize_str(visitor)
    }
}

/// Implements methods of `Deserializer` by delegating the value to serde_json.
macro_rules! delegate {
    ($($method:ident ( $($argument:ident : $type:ty),* ))+) => {
        $(
            fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Error> {
                self.value()?.$method($($argument,)* visitor)
            }
        )+
    };
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Error;

    delegate! {
        deserialize_any() deserialize_bool()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64()
        deserialize_bytes() deserialize_byte_buf()
        deserialize_unit() deserialize_unit_struct(name: &'static str)
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.scanner.skip().map_err(fall_back)?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.scanner.peek() != Some(b'n') {
            return visitor.visit_some(self);
        }
        self.scanner.skip().map_err(fall_back)?;
        visitor.visit_none()
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.string(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.string(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        // serde_json deserializes its own types by private names that begin with `$`.
        if name.starts_with('$') {
            return self.value()?.deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name.starts_with('$') {
            return self.value()?.deserialize_struct(name, fields, visitor);
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut items = self.items(*b"{}")?;
        let value = visitor.visit_map(&mut items)?;
        items.expect_end().map(|()| value)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut items = self.items(*b"[]")?;
        let value = visitor.visit_seq(&mut items)?;
        items.expect_end().map(|()| value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }
}

/// The remaining items of an object or an array.
struct Items<'de, 's> {
    json: &'de str,
    scanner: &'s mut Scanner<'de>,
    position: ItemPosition,
    close: u8,
    ended: bool,
}

impl<'de> Items<'de, '_> {
    fn has_next(&mut self) -> Result<bool, Error> {
        if !self.ended {
            self.ended =
                !self.scanner.has_item(&mut self.position, self.close).map_err(fall_back)?;
        }
        Ok(!self.ended)
    }

    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Reader { json: self.json, scanner: self.scanner })
    }

    /// Checks that no items are left.
    fn expect_end(&mut self) -> Result<(), Error> {
        if self.has_next()? { Err(fall_back(())) } else { Ok(()) }
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'de, '_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        if self.has_next()? { self.next(seed).map(Some) } else { Ok(None) }
    }
}

impl<'de> MapAccess<'de> for &mut Items<'de, '_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        if !self.has_next()? {
            return Ok(None);
        }
        let key = self.scanner.key().map_err(fall_back)?;
        match key.name().ok_or(()).map_err(fall_back)? {
            Cow::Borrowed(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
            Cow::Owned(name) => seed.deserialize(name.into_deserializer()),
        }
        .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.next(seed)
    }
}

/// Returns an error without text, after which the caller decodes with serde_json.
#[cold]
fn fall_back<E>(_: E) -> Error {
    Error::custom("")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fmt::Debug};

    use proptest::prelude::*;
    use router_catalog::samples::Sampler;
    use serde_json::{Value, json, value::RawValue};

    use super::*;

    /// Checks that serde_json reads the same value if this reader reads one.
    fn assert_agrees<'de, T: Deserialize<'de> + PartialEq + Debug>(json: &'de str) {
        if let Ok(ours) = read::<T>(json) {
            assert_eq!(
                ours,
                serde_json::from_str(json).expect("serde_json accepts what the reader accepts"),
                "{json}"
            );
        }
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
    struct Wrapped(BTreeMap<Wide, (Option<char>, Value)>);

    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    struct Wide(i64);

    fn assert_all_agree(json: &str) {
        assert_agrees::<Fields<'_>>(json);
        assert_agrees::<Flat>(json);
        assert_agrees::<Vec<Either>>(json);
        assert_agrees::<Either>(json);
        assert_agrees::<BTreeMap<String, Tagged>>(json);
        assert_agrees::<Tagged>(json);
        assert_agrees::<Wrapped>(json);
        assert_agrees::<Value>(json);
        assert_agrees::<(u8, Option<&str>)>(json);
        assert_agrees::<[Word; 2]>(json);
        assert_agrees::<BTreeMap<UnitWord, f32>>(json);
    }

    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum UnitWord {
        A,
        B,
    }

    #[test]
    fn common_types_are_decoded() {
        let json =
            r#" { "a": "x", "id" : [ {"\u0061": "\"}"} , -1.5e3 ], "b":7, "c": {"a":null,"b":0},
            "object": ["a", {"b": 5}, {"c": {"a": true}}] } "#
                .trim();
        let fields = read::<Fields<'_>>(json).expect("the text is valid");
        assert_eq!(fields, serde_json::from_str(json).expect("the text is valid"));
        read::<Wrapped>("{}").expect("an empty map");
        read::<(u8, Option<&str>)>(r#"[1, null]"#).expect("an array");
        read::<BTreeMap<UnitWord, f32>>(r#"{"b":1.5}"#).expect("keys of an enum");
        read::<Vec<Box<RawValue>>>(r#"[{"a": 1}]"#).expect("a list of raw JSON");
        read::<Vec<Either>>(r#"[1, "x", {"a":"x","b":null}]"#).expect("every variant");
    }

    #[test]
    fn wrong_lengths_and_types_fail() {
        for json in ["[1]", "[1,null,2]", "[1,null", "[1,null]x", "[1 null]", "{}", "1", "null", ""]
        {
            assert!(read::<(u8, Option<&str>)>(json).is_err(), "{json}");
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

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i8>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[abc\"\\\\\u{e9}]{0,3}".prop_map(Value::from),
            Just(json!({"object": "A", "a": 1})),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[abc1]|object", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_decodes_as_in_serde_json(json in any_json()) {
            assert_all_agree(&json.to_string());
            assert_all_agree(&serde_json::to_string_pretty(&json)?);
        }
    }
}
