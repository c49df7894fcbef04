//! Ids, URLs and amounts, which are the same wherever a sample refers to an object.

use serde_json::Value;

use super::{Sampler, random::Random, rules::identity};

impl Sampler {
    /// The number of different amounts. Seeds that differ by a multiple of it have the same amount
    /// and different ids.
    pub const AMOUNTS: u64 = 8;

    /// Returns the id of the sample object with this name, or `None` if the object is not known or
    /// has no id.
    #[must_use]
    pub fn id(&self, object: &str) -> Option<String> {
        self.id_by(object, identity(object)?.prefix?)
    }

    /// Returns an id of an object, different for each purpose.
    pub(super) fn id_by(&self, object: &str, purpose: &str) -> Option<String> {
        let identity = identity(object)?;
        let token = Random::new(self.seed, purpose).token(identity.length);
        let prefix = identity.prefix?;
        Some(match self.livemode {
            false => format!("{prefix}{token}"),
            // Of the ids that contain `_test_`, only that of a checkout session has `_live_` in
            // live mode.
            true => {
                let prefix = prefix.replace("cs_test_", "cs_live_").replace("_test_", "_");
                format!("{prefix}{token}")
            }
        })
    }

    /// Returns the URL of an object in Stripe's API, such as `/v1/charges/ch_…`.
    pub(super) fn url(&self, object: &str) -> Option<String> {
        let template = identity(object)?.url?;
        let url = template.replace("{id}", &format!("{{{object}}}"));
        Some(self.expand_text(&url, &mut Random::new(self.seed, object)))
    }

    /// Returns the amount paid, in cents. It is the same for all objects of a seed.
    pub(super) fn amount(&self) -> i64 {
        const AMOUNTS: [i64; Sampler::AMOUNTS as usize] =
            [2000, 1099, 4900, 1500, 12_500, 999, 7350, 30_000];
        AMOUNTS[(self.seed % Self::AMOUNTS) as usize]
    }

    /// Returns JSON with the placeholders in its strings replaced by ids and random characters.
    pub(super) fn expand(&self, value: &Value, random: &mut Random) -> Value {
        match value {
            Value::String(text) => self.expand_text(text, random).into(),
            Value::Array(values) => values.iter().map(|value| self.expand(value, random)).collect(),
            Value::Object(values) => values
                .iter()
                .map(|(name, value)| (name.clone(), self.expand(value, random)))
                .collect(),
            other => other.clone(),
        }
    }

    fn expand_text(&self, text: &str, random: &mut Random) -> String {
        let Some((before, rest)) = text.split_once('{') else { return text.to_owned() };
        let Some((inside, after)) = rest.split_once('}') else { return text.to_owned() };
        let replacement = if let Some(length) = inside.strip_prefix('#') {
            length.parse().ok().map(|length| random.token(length))
        } else if let Some(length) = inside.strip_prefix("0#") {
            length.parse().ok().map(|length| random.digits(length))
        } else {
            self.id(inside)
        };
        match replacement {
            Some(replacement) => {
                format!("{before}{replacement}{}", self.expand_text(after, random))
            }
            // Not a placeholder: the text contains a literal brace.
            None => format!("{before}{{{}", self.expand_text(rest, random)),
        }
    }
}
