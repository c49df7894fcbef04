//! JSON in Stripe's format.

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;

/// Formats a value like Stripe's API: indented by two spaces, with `id` and `object` first in each
/// object and the other fields in alphabetical order.
#[must_use]
pub fn stripe_json(value: &Value) -> String {
    // Cannot fail: all keys of a `Value` are strings.
    serde_json::to_string_pretty(&Ordered(value)).unwrap_or_else(|_| value.to_string())
}

struct Ordered<'v>(&'v Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(values) => serializer.collect_seq(values.iter().map(Ordered)),
            Value::Object(values) => {
                let mut fields: Vec<_> = values.iter().collect();
                fields.sort_by_key(|(name, _)| {
                    let first = ["id", "object"].iter().position(|first| first == name);
                    (first.unwrap_or(2), *name)
                });
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, &Ordered(value))?;
                }
                map.end()
            }
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn id_and_object_come_first_at_every_depth() {
        let value = json!({"amount": 1, "object": "a", "of": [{"b": {}, "id": 1}], "id": "a_1"});
        assert_eq!(
            stripe_json(&value),
            r#"{
  "id": "a_1",
  "object": "a",
  "amount": 1,
  "of": [
    {
      "id": 1,
      "b": {}
    }
  ]
}"#
        );
    }
}
