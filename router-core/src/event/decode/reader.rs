//! A deserializer that decodes JSON as serde_json does, with two differences. It skips ignored
//! fields faster, which are most fields of an object, and its errors cannot contain values.
//!
//! It walks objects and arrays itself, and leaves numbers to serde_json. Three rare kinds of types
//! decode differently:
//!
//! - A type that ignores the error of a field is accepted if the field's value was read to its end,
//!   and refused otherwise. serde_json accepts such a type in other cases.
//! - A map whose keys are `RawValue` is refused.
//! - A map whose keys are bytes is refused if a key has a lone surrogate.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error as _, Expected, MapAccess, SeqAccess, Unexpected,
        VariantAccess, Visitor,
    },
};

use super::{
    super::{
        error::JsonType,
        scanner::{ItemPosition, Scanner},
    },
    mismatch::{Mismatch, Segment},
    relay::{JsonDeserializer, Relay, Relayed, relay},
    text::Text,
};

/// Decodes a JSON text that has no surrounding white space.
pub(super) fn read<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, Mismatch> {
    let mut scanner = Scanner::new(json);
    let value = T::deserialize(Reader(&mut scanner))?;
    scanner.end()?;
    Ok(value)
}

/// A deserializer for the next value.
struct Reader<'de, 's>(&'s mut Scanner<'de>);

impl<'de, 's> Reader<'de, 's> {
    fn text(self) -> Result<Text<'de>, Mismatch> {
        let value = self.0.value()?;
        value.decode(self.0.text()).map(Text).ok_or_else(Mismatch::no_character)
    }

    /// Opens the next value, which is an object or an array. `names` are the declared names of the
    /// fields of an object.
    fn open(self, close: u8, names: Names) -> Result<Items<'de, 's>, Mismatch> {
        self.0.open()?;
        let position = ItemPosition::First;
        Ok(Items { scanner: self.0, position, close, ended: false, names, key: 0, index: 0 })
    }

    fn object<V: Visitor<'de>>(self, names: Names, visitor: V) -> Result<V::Value, Mismatch> {
        if self.0.peek() != Some(b'{') {
            return Err(self.wrong_type(&visitor));
        }
        let mut items = self.open(b'}', names)?;
        let value = visitor.visit_map(&mut items)?;
        items.expect_end().map(|()| value)
    }

    /// Lets serde_json read the next value.
    fn relay<V: Visitor<'de>>(
        self,
        visitor: V,
        read: impl FnOnce(JsonDeserializer<'de, '_>, Relay<V>) -> Relayed<V::Value>,
    ) -> Result<V::Value, Mismatch> {
        let value = self.0.value()?;
        relay(&self.0.text()[value.range()], visitor, read)
    }

    #[cold]
    fn wrong_type(self, expected: &dyn Expected) -> Mismatch {
        let value = match self.0.value() {
            Ok(value) => value,
            Err(fault) => return fault.into(),
        };
        let found = match value.kind {
            JsonType::Object => Unexpected::Map,
            JsonType::Array => Unexpected::Seq,
            JsonType::String => Unexpected::Str(""),
            JsonType::Number if self.0.text()[value.range()].contains(['.', 'e', 'E']) => {
                Unexpected::Float(0.0)
            }
            JsonType::Number => Unexpected::Signed(0),
            JsonType::Boolean => Unexpected::Bool(true),
            JsonType::Null => Unexpected::Unit,
        };
        Mismatch::invalid_type(found, expected)
    }
}

/// Implements methods of `Deserializer` for values that begin with one of these bytes.
macro_rules! scalars {
    ($($method:ident: $first:pat => $read:expr;)+) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
                match self.0.peek() {
                    Some($first) => ($read)(self, visitor),
                    _ => Err(self.wrong_type(&visitor)),
                }
            }
        )+
    };
}

/// Implements methods of `Deserializer` by serde_json's methods for numbers.
macro_rules! numbers {
    ($($method:ident)+) => {
        scalars! { $(
            $method: b'-' | b'0'..=b'9' => |reader: Self, visitor| {
                reader.relay(visitor, |json, visitor| json.$method(visitor))
            };
        )+ }
    };
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Mismatch;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    scalars! {
        deserialize_bool: b't' | b'f' => Self::deserialize_any;
        deserialize_unit: b'n' => Self::deserialize_any;
        deserialize_str: b'"' => |reader: Self, visitor| reader.text()?.deserialize_any(visitor);
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0.peek() {
            Some(b'"') => self.deserialize_str(visitor),
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b'n') => self.deserialize_ignored_any(visitor),
            Some(first @ (b't' | b'f')) => {
                self.0.skip()?;
                visitor.visit_bool(first == b't')
            }
            _ => self.relay(visitor, |json, visitor| json.deserialize_any(visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.0.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.0.peek() != Some(b'n') {
            return visitor.visit_some(self);
        }
        self.0.skip()?;
        visitor.visit_none()
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0.peek() {
            Some(b'"') => self.relay(visitor, |json, visitor| json.deserialize_bytes(visitor)),
            _ => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        // Only serde_json knows which names mark types of its own, such as `RawValue`.
        let mut deserializer = serde_json::Deserializer::from_str(self.0.rest());
        deserializer
            .deserialize_newtype_struct(name, Newtype { reader: self, visitor })
            .unwrap_or_else(|_| Err(Mismatch::refused()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: Names,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0.peek() {
            Some(b'[') => self.deserialize_seq(visitor),
            _ => self.object(fields, visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: Names,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0.peek() {
            Some(b'"') => self.text()?.deserialize_enum("", variants, visitor),
            Some(b'{') => {
                let mut items = self.open(b'}', variants)?;
                let value = visitor.visit_enum(&mut items)?;
                items.expect_end().map(|()| value)
            }
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.object(&[], visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.0.peek() != Some(b'[') {
            return Err(self.wrong_type(&visitor));
        }
        let mut items = self.open(b']', &[])?;
        let value = visitor.visit_seq(&mut items)?;
        items.expect_end().map(|()| value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_str(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_str(visitor)
    }
}

/// The names of the fields of a struct, or of the variants of an enum, as its type declares them.
type Names = &'static [&'static str];

/// The remaining items of an object or an array.
struct Items<'de, 's> {
    scanner: &'s mut Scanner<'de>,
    position: ItemPosition,
    close: u8,
    ended: bool,
    names: Names,
    /// The offset of the current key.
    key: usize,
    /// The number of items read from an array.
    index: usize,
}

impl<'de> Items<'de, '_> {
    fn has_next(&mut self) -> Result<bool, Mismatch> {
        if !self.ended {
            self.ended = !self.scanner.has_item(&mut self.position, self.close)?;
        }
        Ok(!self.ended)
    }

    /// Reads the next item of an array, or the value of the current key.
    fn item<T>(
        &mut self,
        read: impl FnOnce(Reader<'de, '_>) -> Result<T, Mismatch>,
    ) -> Result<T, Mismatch> {
        read(Reader(self.scanner)).map_err(|mismatch| mismatch.within(self.segment()))
    }

    /// Returns the segment of the current item in a path. A key that the type does not declare is
    /// part of the payload, so it is not shown.
    #[cold]
    fn segment(&self) -> Segment {
        if self.close == b']' {
            return Segment::Index(self.index - 1);
        }
        let key = Scanner::new(&self.scanner.text()[self.key..]).key().ok();
        let key = key.and_then(|key| key.name());
        let declared = self.names.iter().find(|name| Some(**name) == key.as_deref());
        declared.map_or(Segment::AnyKey, |name| Segment::Name(name))
    }

    /// Checks that no items are left.
    fn expect_end(&mut self) -> Result<(), Mismatch> {
        if self.has_next()? { Err(Mismatch::too_many_items()) } else { Ok(()) }
    }
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Mismatch;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Mismatch> {
        if !self.has_next()? {
            return Ok(None);
        }
        self.index += 1;
        self.item(|reader| seed.deserialize(reader)).map(Some)
    }
}

impl<'de> MapAccess<'de> for Items<'de, '_> {
    type Error = Mismatch;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Mismatch> {
        if !self.has_next()? {
            return Ok(None);
        }
        let key = self.scanner.key()?;
        self.key = key.start();
        seed.deserialize(Text(key.name().ok_or_else(Mismatch::no_character)?)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mismatch> {
        self.item(|reader| seed.deserialize(reader))
    }
}

/// A variant is an object with one field.
impl<'de> EnumAccess<'de> for &mut Items<'de, '_> {
    type Error = Mismatch;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Mismatch> {
        let variant = self.next_key_seed(seed)?.ok_or_else(Mismatch::no_variant)?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Items<'de, '_> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        self.next_value()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Mismatch> {
        self.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.item(|reader| reader.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: Names,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.item(|reader| reader.deserialize_struct("", fields, visitor))
    }
}

/// Reads a newtype with this reader, or a type of serde_json's own with serde_json.
struct Newtype<'de, 's, V> {
    reader: Reader<'de, 's>,
    visitor: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Newtype<'de, '_, V> {
    type Value = Result<V::Value, Mismatch>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, _: D) -> Result<Self::Value, D::Error> {
        Ok(self.visitor.visit_newtype_struct(self.reader))
    }

    /// Visits a `RawValue`.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let value = self.visitor.visit_map(map)?;
        Ok(self.reader.0.skip().map(|()| value).map_err(Mismatch::from))
    }
}
