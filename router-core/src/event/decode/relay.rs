//! Reads a value with serde_json, and replaces its errors, because they show values.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde_json::de::StrRead;

use super::mismatch::Mismatch;

/// Reads a number, or the bytes of a string, with serde_json.
#[inline]
pub(super) fn relay<'de, V: Visitor<'de>>(
    json: &'de str,
    visitor: V,
    read: impl FnOnce(JsonDeserializer<'de, '_>, Relay<V>) -> Relayed<V::Value>,
) -> Result<V::Value, Mismatch> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = read(&mut deserializer, Relay(visitor));
    // serde_json reads an `i128` only up to the number's point or exponent, so check for the rest.
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.unwrap_or_else(|_| Err(Mismatch::unsuitable_number()))
}

pub(super) type JsonDeserializer<'de, 'd> = &'d mut serde_json::Deserializer<StrRead<'de>>;
/// The outer error is one of serde_json, which shows values. It is never used.
pub(super) type Relayed<T> = serde_json::Result<Result<T, Mismatch>>;

/// A visitor that passes serde_json's value to the inner visitor, whose error is a [`Mismatch`].
pub(super) struct Relay<V>(V);

/// Implements methods of `Visitor` by those of the inner visitor.
macro_rules! relay {
    ($($method:ident($type:ty))+) => {
        $(
            fn $method<E>(self, value: $type) -> Result<Self::Value, E> {
                Ok(self.0.$method(value))
            }
        )+
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Relay<V> {
    type Value = Result<V::Value, Mismatch>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    relay! {
        visit_i64(i64) visit_i128(i128) visit_u64(u64) visit_u128(u128) visit_f64(f64)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8])
    }

    /// Visits a number, if serde_json's feature `arbitrary_precision` is on.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.0.visit_map(map).map(Ok)
    }
}
