//! Candidates for the body that was signed, before something altered it.

use std::{collections::HashSet, iter};

use super::{
    alterations::{Alteration, in_json_field, undo_each, without_line_breaks},
    encodings::MAX_BODY,
    event_facts::EventFacts,
    json::Json,
    layouts::layouts,
    remedies::RAW_BODY,
};

/// A candidate for the signed body, and the alterations that turned it into the given body.
#[derive(Debug)]
pub(super) struct BodyCandidate {
    pub(super) body: Vec<u8>,
    /// The alterations in the order in which they were made.
    pub(super) alterations: Vec<Alteration>,
    /// The layout that Stripe signed, if the only alteration is that the body was parsed and
    /// serialized again.
    pub(super) signed_layout: Option<String>,
}

/// The maximum number of alterations that are undone one after the other: three for an API gateway
/// that encodes a compressed body in base64 and puts it into a JSON document.
const MAX_ALTERATIONS: usize = 3;

/// The maximum number of bodies that are tried, for input that has many possible originals.
const MAX_BODIES: usize = 200;

/// The maximum size of all bodies together from which alterations are undone.
const MAX_RESTORED: usize = 8 * MAX_BODY;

/// The maximum size of all layouts together that are tried: all of them for a body of 250 KiB.
const MAX_LAYOUTS: usize = 8 * MAX_BODY;

/// Returns all candidates for the signed body, the likeliest first.
pub(super) fn body_candidates(body: &[u8]) -> impl Iterator<Item = BodyCandidate> {
    let restored = restore(body);
    let texts: Vec<_> = iter::once((body.to_vec(), Vec::new()))
        .chain(restored.iter().filter(|restored| restored.is_decoded).map(Restored::to_text))
        .collect();
    let mut budget = MAX_LAYOUTS;
    let reserialized = texts.into_iter().flat_map(move |(text, alterations)| {
        reserialized_candidates(text, alterations, &mut budget)
    });
    let as_restored = restored.into_iter().map(|Restored { body, alterations, .. }| {
        BodyCandidate { body, alterations, signed_layout: None }
    });
    as_restored.chain(reserialized)
}

/// Returns the event in an altered body, and the alterations. Returns `None` if the body contains
/// no event.
pub(super) fn altered_event(body: &[u8]) -> Option<(EventFacts, Vec<Alteration>)> {
    let restored = restore(body);
    let event = restored.iter().find_map(|restored| {
        Some((EventFacts::from_body(&restored.body)?, restored.alterations()))
    });
    let texts =
        iter::once((body.to_vec(), Vec::new())).chain(restored.iter().map(Restored::to_text));
    let mut nested = texts.filter_map(|(text, alterations)| {
        let text = String::from_utf8(text).ok().filter(|text| text.len() <= MAX_BODY)?;
        let json = Json::parse(&text)?;
        let (path, event) = events_in(&json).into_iter().next()?;
        let facts = EventFacts::from_body(&layouts(event).next()?.0.into_bytes())?;
        Some((facts, [vec![in_json_field(&path)], alterations].concat()))
    });
    event.or_else(|| nested.next())
}

/// A body with alterations undone.
struct Restored {
    body: Vec<u8>,
    alterations: Vec<Alteration>,
    /// `true` if the alteration that was undone last is more than white space, so that the body may
    /// have been serialized again before it.
    is_decoded: bool,
}

impl Restored {
    fn alterations(&self) -> Vec<Alteration> {
        self.alterations.clone()
    }

    fn to_text(&self) -> (Vec<u8>, Vec<Alteration>) {
        (self.body.clone(), self.alterations())
    }
}

/// Undoes one alteration of the body, then two, and so on.
fn restore(body: &[u8]) -> Vec<Restored> {
    let mut seen = HashSet::from([body.to_vec()]);
    let (mut all, mut bytes) = (Vec::new(), 0);
    let mut last =
        vec![Restored { body: body.to_vec(), alterations: Vec::new(), is_decoded: false }];
    for _ in 0..MAX_ALTERATIONS {
        let mut next = Vec::new();
        for after in last.iter().filter(|after| after.body.len() <= MAX_BODY) {
            for undone in undo_each(&after.body) {
                bytes += undone.body.len();
                let is_within_limits = seen.len() <= MAX_BODIES && bytes <= MAX_RESTORED;
                if is_within_limits && seen.insert(undone.body.clone()) {
                    next.push(Restored {
                        body: undone.body,
                        alterations: [&[undone.alteration], &after.alterations[..]].concat(),
                        is_decoded: undone.is_decoded,
                    });
                }
            }
        }
        all.extend(std::mem::replace(&mut last, next));
    }
    all.extend(last);
    // The first one is the body itself.
    all.split_off(1)
}

/// Returns the events in a text, each in all layouts, until their bytes exceed the budget.
fn reserialized_candidates(
    text: Vec<u8>,
    alterations: Vec<Alteration>,
    budget: &mut usize,
) -> Vec<BodyCandidate> {
    if text.len() > MAX_BODY {
        return Vec::new();
    }
    // JSON parsers skip a byte order mark.
    let unmarked = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let json = std::str::from_utf8(unmarked).ok().and_then(Json::parse);
    let Some(json) = json else { return Vec::new() };
    let whole = iter::once((String::new(), &json));
    let nested = events_in(&json).into_iter().filter(|(path, _)| !path.is_empty());
    let mut candidates = Vec::new();
    for (path, json) in whole.chain(nested) {
        let field = (!path.is_empty()).then(|| in_json_field(&path));
        for (signed, layout) in layouts(json) {
            let Some(rest) = budget.checked_sub(signed.len()) else { return candidates };
            *budget = rest;
            let line_breaks = without_line_breaks(&signed, &text);
            let is_only_layout = line_breaks.is_none() && field.is_none() && alterations.is_empty();
            let reserialized = || Alteration {
                text: format!("it was parsed and serialized again (Stripe signed it {layout})")
                    .into(),
                remedy: RAW_BODY,
            };
            let first = (!is_only_layout).then(|| line_breaks.unwrap_or_else(reserialized));
            candidates.push(BodyCandidate {
                body: signed.into_bytes(),
                alterations: first
                    .into_iter()
                    .chain(field.clone())
                    .chain(alterations.clone())
                    .collect(),
                signed_layout: is_only_layout.then_some(layout),
            });
        }
    }
    candidates
}

/// Returns the objects in a JSON document that are events, each with its path.
fn events_in<'j, 't>(json: &'j Json<'t>) -> Vec<(String, &'j Json<'t>)> {
    let mut events = Vec::new();
    json.visit("", &mut |path, value| {
        if let Json::Object(fields) = value {
            let is_event = |(name, value): &(&str, Json<'_>)| {
                matches!(value, Json::String(r#""event""# | r#""v2.core.event""#))
                    && *name == r#""object""#
            };
            if fields.iter().any(is_event) {
                events.push((path.to_owned(), value));
            }
        }
    });
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of the nested events has all layouts, and each layout has the long text.
    #[test]
    fn candidates_of_a_hostile_body_are_limited() {
        let mut body = format!("{{\"object\":\"event\",\"a\":\"{}\"}}", "a".repeat(MAX_BODY / 2));
        for _ in 0..50 {
            body = format!("{{\"object\":\"event\",\"data\":{body}}}");
        }
        let bytes: usize =
            body_candidates(body.as_bytes()).map(|candidate| candidate.body.len()).sum();
        assert!(bytes > MAX_LAYOUTS / 2 && bytes <= MAX_LAYOUTS + MAX_RESTORED, "{bytes}");
        // One byte more, and only the body as given is verified.
        let large = " ".repeat(MAX_BODY + 1);
        assert_eq!(body_candidates(large.as_bytes()).count(), 0);
    }
}
