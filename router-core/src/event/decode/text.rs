//! A deserializer for the text of a string or of a key.

use std::borrow::Cow;

use serde::{
    Deserializer,
    de::{Error as _, IntoDeserializer as _, Unexpected, Visitor, value::BorrowedStrDeserializer},
    forward_to_deserialize_any,
};

use super::{
    super::{error::JsonType, scanner::Scanner},
    mismatch::Mismatch,
    relay::{JsonDeserializer, Relay, Relayed, relay},
};

/// The text of a string or of a key. A key may stand for a number or a boolean.
pub(super) struct Text<'de>(pub(super) Cow<'de, str>);

impl<'de> Text<'de> {
    fn number<V: Visitor<'de>>(
        self,
        visitor: V,
        read: impl FnOnce(JsonDeserializer<'de, '_>, Relay<V>) -> Relayed<V::Value>,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Cow::Borrowed(text) if is_number(text) => relay(text, visitor, read),
            _ => Err(Mismatch::invalid_type(Unexpected::Str(""), &visitor)),
        }
    }
}

fn is_number(text: &str) -> bool {
    let value = Scanner::new(text).value();
    value.is_ok_and(|value| value.kind == JsonType::Number && value.end == text.len())
}

/// Implements methods of `Deserializer` for keys that are numbers.
macro_rules! numbers {
    ($($method:ident)+) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
                self.number(visitor, |json, visitor| json.$method(visitor))
            }
        )+
    };
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Mismatch;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Cow::Borrowed("true") => visitor.visit_bool(true),
            Cow::Borrowed("false") => visitor.visit_bool(false),
            _ => Err(Mismatch::invalid_type(Unexpected::Str(""), &visitor)),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_bytes(text.as_bytes()),
            Cow::Owned(text) => visitor.visit_byte_buf(text.into_bytes()),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            Cow::Owned(text) => visitor.visit_enum(text.into_deserializer()),
        }
    }

    forward_to_deserialize_any! {
        char str string unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
