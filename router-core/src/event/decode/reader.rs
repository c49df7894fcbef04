//! Decodes JSON as serde_json does, but for passing faster over what nobody asks for: most of an object,
//! since a handler's type has the few fields that it needs.
//!
//! It walks objects and arrays itself and leaves every other value to serde_json. Whatever it refuses
//! serde_json is to decide, so its errors say nothing.

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
    scanner::{Place, Scanner},
};

/// Decodes a text that is JSON from its first byte to its last.
pub(super) fn read<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, Error> {
    let mut scanner = Scanner::new(json);
    let value = T::deserialize(Reader { json, scanner: &mut scanner })?;
    scanner.end().map_err(undecided)?;
    Ok(value)
}

/// Reads the value that comes next.
struct Reader<'de, 's> {
    json: &'de str,
    scanner: &'s mut Scanner<'de>,
}

impl<'de, 's> Reader<'de, 's> {
    /// What serde_json is to read.
    fn value(self) -> Result<serde_json::Deserializer<serde_json::de::StrRead<'de>>, Error> {
        let value = self.scanner.value().map_err(undecided)?;
        Ok(serde_json::Deserializer::from_str(&self.json[value.range()]))
    }

    /// The items of what comes next, if it is an object or an array, whichever these brackets say.
    fn items(self, [open, close]: [u8; 2]) -> Result<Items<'de, 's>, Error> {
        if self.scanner.peek() != Some(open) {
            return Err(undecided(()));
        }
        self.scanner.open().map_err(undecided)?;
        Ok(Items {
            json: self.json,
            scanner: self.scanner,
            place: Place::First,
            close,
            ended: false,
        })
    }

    fn string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = self.scanner.value().map_err(undecided)?;
        let text = &self.json[value.range()];
        if value.kind == JsonType::String && !value.escaped {
            return visitor.visit_borrowed_str(&text[1..text.len() - 1]);
        }
        serde_json::Deserializer::from_str(text).deserialize_str(visitor)
    }
}

/// Left to serde_json, whole.
macro_rules! leave {
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

    leave! {
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
        self.scanner.skip().map_err(undecided)?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.scanner.peek() != Some(b'n') {
            return visitor.visit_some(self);
        }
        self.scanner.skip().map_err(undecided)?;
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
        // serde_json's own types are asked for by names that only it knows.
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
        items.end().map(|()| value)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut items = self.items(*b"[]")?;
        let value = visitor.visit_seq(&mut items)?;
        items.end().map(|()| value)
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

/// The items of an object or an array.
struct Items<'de, 's> {
    json: &'de str,
    scanner: &'s mut Scanner<'de>,
    place: Place,
    close: u8,
    ended: bool,
}

impl<'de> Items<'de, '_> {
    fn has_next(&mut self) -> Result<bool, Error> {
        if !self.ended {
            self.ended = !self.scanner.has_item(&mut self.place, self.close).map_err(undecided)?;
        }
        Ok(!self.ended)
    }

    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Reader { json: self.json, scanner: self.scanner })
    }

    /// Items that are left over are too many.
    fn end(&mut self) -> Result<(), Error> {
        if self.has_next()? { Err(undecided(())) } else { Ok(()) }
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
        let key = self.scanner.key().map_err(undecided)?;
        match key.name().ok_or(()).map_err(undecided)? {
            Cow::Borrowed(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
            Cow::Owned(name) => seed.deserialize(name.into_deserializer()),
        }
        .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.next(seed)
    }
}

/// What serde_json is to say more of.
#[cold]
fn undecided<E>(_: E) -> Error {
    Error::custom("")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fmt::Debug};

    use proptest::prelude::*;
    use router_catalog::samples::Sampler;
    use serde_json::{Value, json, value::RawValue};

    use super::*;

    /// What is read is what serde_json reads, and what is not is left to it.
    fn agrees<'de, T: Deserialize<'de> + PartialEq + Debug>(json: &'de str) {
        if let Ok(ours) = read::<T>(json) {
            assert_eq!(ours, serde_json::from_str(json).expect("it reads what we read"), "{json}");
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

    fn all_agree(json: &str) {
        agrees::<Fields<'_>>(json);
        agrees::<Flat>(json);
        agrees::<Vec<Either>>(json);
        agrees::<Either>(json);
        agrees::<BTreeMap<String, Tagged>>(json);
        agrees::<Tagged>(json);
        agrees::<Wrapped>(json);
        agrees::<Value>(json);
        agrees::<(u8, Option<&str>)>(json);
        agrees::<[Word; 2]>(json);
        agrees::<BTreeMap<Word2, f32>>(json);
    }

    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word2 {
        A,
        B,
    }

    #[test]
    fn what_handlers_take_is_read() {
        let json =
            r#" { "a": "x", "id" : [ {"\u0061": "\"}"} , -1.5e3 ], "b":7, "c": {"a":null,"b":0},
            "object": ["a", {"b": 5}, {"c": {"a": true}}] } "#
                .trim();
        let fields = read::<Fields<'_>>(json).expect("it is JSON");
        assert_eq!(fields, serde_json::from_str(json).expect("it is JSON"));
        read::<Wrapped>("{}").expect("an empty map");
        read::<(u8, Option<&str>)>(r#"[1, null]"#).expect("an array");
        read::<BTreeMap<Word2, f32>>(r#"{"b":1.5}"#).expect("keys of an enum");
        read::<Vec<Box<RawValue>>>(r#"[{"a": 1}]"#).expect("JSON as it stands");
        read::<Vec<Either>>(r#"[1, "x", {"a":"x","b":null}]"#).expect("any of them");
    }

    #[test]
    fn what_is_too_much_or_too_little_is_left_to_serde_json() {
        for json in ["[1]", "[1,null,2]", "[1,null", "[1,null]x", "[1 null]", "{}", "1", "null", ""]
        {
            assert!(read::<(u8, Option<&str>)>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn every_object_of_stripe_is_read_alike() {
        let sampler = Sampler::new(1, 1_700_000_000);
        for event_type in router_catalog::all() {
            let event = sampler.event(event_type.name).expect("it is known").into_json();
            all_agree(&event.to_string());
            all_agree(&serde_json::to_string_pretty(&event["data"]["object"]).expect("it is JSON"));
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
        fn whatever_is_read_is_read_alike(json in any_json()) {
            all_agree(&json.to_string());
            all_agree(&serde_json::to_string_pretty(&json)?);
        }
    }
}
