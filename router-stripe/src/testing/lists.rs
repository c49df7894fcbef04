//! The lists of the stub: their pages and filters.

use std::time::{Duration, SystemTime};

use form_urlencoded::{Serializer, parse};
use serde_json::{Value, json};

use super::Answer;
use crate::{doctor, reconcile};

/// The lists that exist in every account. Others exist once a test adds an item.
pub(super) const LISTS: [&str; 5] =
    [doctor::V1, doctor::V2, reconcile::V1, reconcile::V2, reconcile::ACCOUNTS];

/// Stripe's default number of items per page.
const DEFAULT_LIMIT: usize = 10;

/// Returns the requested page of a list.
pub(super) fn page(list: &[Value], path: &str, path_and_query: &str) -> Answer {
    let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
    let parameters: Vec<(String, String)> = parse(query.as_bytes()).into_owned().collect();
    let parameter = |name: &str| {
        parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    };
    let limit = parameter("limit").and_then(|limit| limit.parse().ok()).unwrap_or(DEFAULT_LIMIT);
    if !(1..=100).contains(&limit) {
        return Answer::error(400, "invalid_request_error", "limit must be between 1 and 100");
    }
    let is_bound = |name: &str| name.starts_with("created[");
    if let Some((name, _)) =
        parameters.iter().find(|(name, value)| is_bound(name) && time(value).is_none())
    {
        return Answer::error(400, "invalid_request_error", &format!("{name} is not a time"));
    }
    let items = list.iter().enumerate().filter(|(_, item)| matches(item, &parameters));
    let items: Vec<(usize, &Value)> = items.collect();
    let position = |id: &str| list.iter().position(|item| item["id"] == id);
    if path.starts_with("/v2/") {
        let from = parameter("page").and_then(|page| page.parse().ok()).unwrap_or(0);
        let rest = items.get(from..).unwrap_or_default();
        let next = (rest.len() > limit).then(|| {
            // The filters are part of the URL, in Stripe's case in the token `page`.
            let others = parameters.iter().filter(|(name, _)| name != "page");
            let mut query = Serializer::new(String::new());
            query.extend_pairs(others).append_pair("page", &(from + limit).to_string());
            format!("{path}?{}", query.finish())
        });
        let data: Vec<_> = rest.iter().take(limit).map(|(_, item)| without_success(item)).collect();
        return Answer::ok(&json!({"data": data, "next_page_url": next}));
    }
    let (selected, has_more): (Vec<(usize, &Value)>, bool) =
        match (parameter("starting_after").map(position), parameter("ending_before").map(position))
        {
            (Some(None), _) | (_, Some(None)) => {
                return Answer::error(400, "invalid_request_error", "No such item in the list");
            }
            (_, Some(Some(cursor))) => {
                let before: Vec<_> =
                    items.into_iter().filter(|(index, _)| *index < cursor).collect();
                let first = before.len().saturating_sub(limit);
                (before[first..].to_vec(), first > 0)
            }
            (cursor, None) => {
                let after = cursor.flatten().map_or(0, |cursor| {
                    items.iter().take_while(|(index, _)| *index <= cursor).count()
                });
                let rest = &items[after..];
                (rest.iter().take(limit).copied().collect(), rest.len() > limit)
            }
        };
    let data: Vec<_> = selected.into_iter().map(|(_, item)| without_success(item)).collect();
    Answer::ok(&json!({"object": "list", "url": path, "has_more": has_more, "data": data}))
}

/// Returns whether an item matches the filters of a request.
fn matches(item: &Value, parameters: &[(String, String)]) -> bool {
    let types: Vec<_> =
        parameters.iter().filter(|(name, _)| name == "types[]" || name == "type").collect();
    let is_of_type = types.is_empty() || types.iter().any(|(_, value)| item["type"] == **value);
    let created = match &item["created"] {
        Value::String(text) => time(text),
        seconds => time(&seconds.to_string()),
    };
    is_of_type
        && parameters.iter().all(|(name, value)| {
            let bound = || time(value);
            match name.as_str() {
                "created[gt]" => created > bound(),
                "created[gte]" => created >= bound(),
                "created[lt]" => created < bound(),
                "created[lte]" => created <= bound(),
                "delivery_success" => {
                    let is_delivered = item["delivery_success"].as_bool().unwrap_or(true);
                    value.parse() == Ok(is_delivered)
                }
                _ => true,
            }
        })
}

/// Parses a time: seconds since the Unix epoch, or RFC 3339.
fn time(text: &str) -> Option<SystemTime> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.map_or_else(
        || humantime::parse_rfc3339(text).ok(),
        |seconds| SystemTime::UNIX_EPOCH.checked_add(seconds),
    )
}

/// Returns the item without `delivery_success`, which Stripe's objects do not have.
pub(super) fn without_success(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(fields) = item.as_object_mut() {
        fields.remove("delivery_success");
    }
    item
}
