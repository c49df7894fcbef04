//! JSON as Stripe writes it.

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;

/// This value as Stripe writes JSON: indented by two spaces, in an object `id` and `object` first and
/// then the rest by the alphabet.
#[must_use]
pub fn stripe_json(value: &Value) -> String {
    // A value's keys are strings, so that it can always be written.
    serde_json::to_string_pretty(&InOrder(value)).unwrap_or_else(|_| value.to_string())
}

struct InOrder<'v>(&'v Value);

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(values) => serializer.collect_seq(values.iter().map(InOrder)),
            Value::Object(values) => {
                let mut fields: Vec<_> = values.iter().collect();
                fields.sort_by_key(|(name, _)| {
                    let first = ["id", "object"].iter().position(|first| first == name);
                    (first.unwrap_or(2), *name)
                });
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, &InOrder(value))?;
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
    fn the_id_comes_first_at_every_depth() {
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
