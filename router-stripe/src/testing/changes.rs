//! The changes that a `POST` to the stub makes.

use form_urlencoded::parse;
use router_core::http::Method;
use serde_json::{Map, Value};

use super::{Answer, ReceivedRequest, Tables, lists::without_success};

impl Tables {
    /// Changes the object at the request's path, or the item with this id in a list, and returns
    /// it. Returns `None` if there is neither.
    pub(super) fn change(&mut self, request: &ReceivedRequest) -> Option<Answer> {
        if request.method != Method::POST {
            return None;
        }
        let path = request.path_only();
        if let Some(path) = path.strip_suffix("/retry") {
            // A platform's key names the connected account in the form, as Stripe's CLI does.
            let account = parameters(request)?.into_iter().find(|(name, _)| name == "account");
            let account = account.and_then(|(_, value)| value.as_str().map(str::to_owned));
            let account = account.as_deref().unwrap_or(request.account());
            let event = self.find(account, path)?;
            return Some(Answer::ok(&without_success(event)));
        }
        // An event destination has a path for each change of its status.
        let (path, status) = match path.rsplit_once('/') {
            Some((path, "enable")) => (path, Some("enabled")),
            Some((path, "disable")) => (path, Some("disabled")),
            _ => (path, None),
        };
        let object = self.find(request.account(), path)?;
        let Some(fields) = parameters(request) else {
            let message = "the body is neither a form nor a JSON object";
            return Some(Answer::error(400, "invalid_request_error", message));
        };
        for (name, value) in fields {
            merge(object, &name, value);
        }
        let status = status.map(str::to_owned).or_else(|| {
            // Webhook endpoints have the parameter `disabled`, but the field `status`.
            let disabled = object.as_object_mut()?.remove("disabled")?;
            Some(if disabled == true { "disabled" } else { "enabled" }.to_owned())
        });
        if let Some(status) = status {
            object["status"] = status.into();
        }
        Some(Answer::ok(&without_success(object)))
    }

    /// Returns the object at a path, or the item with this id in a list.
    pub(super) fn find(&mut self, account: &str, path: &str) -> Option<&mut Value> {
        let key = (account.to_owned(), path.to_owned());
        if let Some(object) = self.objects.get_mut(&key) {
            return Some(object);
        }
        let (list, id) = path.rsplit_once('/')?;
        let list = self.lists.get_mut(&(account.to_owned(), list.to_owned()))?;
        list.iter_mut().find(|item| item["id"] == id)
    }
}

/// Returns the parameters of a form or of a JSON object. Returns `None` if the body is neither.
/// Nested names of a form, such as `metadata[order]`, become objects and lists.
fn parameters(request: &ReceivedRequest) -> Option<Vec<(String, Value)>> {
    if request.body.is_empty() {
        return Some(Vec::new());
    }
    if request.header("content-type") == Some("application/json") {
        let fields: Map<String, Value> = serde_json::from_slice(&request.body).ok()?;
        return Some(fields.into_iter().collect());
    }
    let mut fields = Map::new();
    for (name, value) in parse(&request.body) {
        let value = match &*value {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => text.into(),
        };
        let (name, key) = name.split_once('[').unwrap_or((&name, ""));
        match (name, key.trim_end_matches(']')) {
            (name, "") if key.is_empty() => drop(fields.insert(name.to_owned(), value)),
            (name, "") => {
                let list = fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                list.as_array_mut()?.push(value);
            }
            (name, key) => {
                let object = fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
                drop(object.as_object_mut()?.insert(key.to_owned(), value));
            }
        }
    }
    Some(fields.into_iter().collect())
}

/// Sets a field. The fields of an object, such as `metadata`, are merged.
fn merge(object: &mut Value, name: &str, value: Value) {
    match (&mut object[name], value) {
        (Value::Object(fields), Value::Object(changes)) => fields.extend(changes),
        (field, value) => *field = value,
    }
}
