//! The path in Stripe's API of the object that an event is about.

use router_core::Event;
use serde_json::{Map, Value};

/// Returns the path of the event's object, or the reason why there is none.
pub(crate) fn object_path(event: &Event) -> Result<String, String> {
    if let Some(related) = event.related_object() {
        let url = related.url().filter(|url| url.starts_with("/v1/") || url.starts_with("/v2/"));
        return url
            .map(str::to_owned)
            .ok_or("the event names an object without its URL".to_owned());
    }
    let object = event.decode_object::<Map<String, Value>>();
    let object = object.map_err(|_| "the event names no object".to_owned())?;
    let name = object.get("object").and_then(Value::as_str).unwrap_or_default();
    let unknown = || format!("Stripe's API does not return `{name}` objects by themselves");
    let template = match name {
        // The same object has another path if it belongs to a connected account.
        "bank_account" | "card" if id_of(&object, "customer").is_none() => {
            "/v1/accounts/{account}/external_accounts/{id}"
        }
        name => router_catalog::object_path(name).ok_or_else(unknown)?,
    };
    expand(template, &object).ok_or_else(|| {
        format!("the `{name}` in the event lacks an id that its path {template} needs")
    })
}

/// Replaces the names in braces by the ids in the object's fields.
fn expand(template: &str, object: &Map<String, Value>) -> Option<String> {
    let (mut path, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        path.push_str(before);
        path.push_str(id_of(object, name)?);
        rest = after;
    }
    Some(path + rest)
}

/// Returns the id in a field: the field itself, or the `id` of the expanded object.
fn id_of<'o>(object: &'o Map<String, Value>, field: &str) -> Option<&'o str> {
    let field = match field {
        // The refund of an application fee names the fee by this field.
        "application_fee" if object.contains_key("fee") => "fee",
        other => other,
    };
    let value = object.get(field)?;
    let id = value.as_str().or_else(|| value.get("id")?.as_str())?;
    // An id is one segment of a path.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (!id.is_empty() && id.bytes().all(is_plain)).then_some(id)
}

#[cfg(test)]
mod tests {
    use router_core::testing::SyntheticEvent;
    use serde_json::json;

    use super::object_path;

    fn path(event: SyntheticEvent) -> Result<String, String> {
        object_path(event.build().expect("event is valid").event())
    }

    #[test]
    fn path_has_the_ids_of_object_and_owner() {
        let event = |event_type: &str| SyntheticEvent::new(event_type);
        for (event, expected) in [
            (event("invoice.paid").set("id", "in_1"), "/v1/invoices/in_1"),
            (event("checkout.session.completed").set("id", "cs_1"), "/v1/checkout/sessions/cs_1"),
            (event("balance.available"), "/v1/balance"),
            (
                event("customer.tax_id.created").set("id", "txi_1").set("customer", "cus_1"),
                "/v1/customers/cus_1/tax_ids/txi_1",
            ),
            (
                event("application_fee.refund.updated").set("id", "fr_1").set("fee", "fee_1"),
                "/v1/application_fees/fee_1/refunds/fr_1",
            ),
            (
                event("account.external_account.created")
                    .set("id", "ba_1")
                    .set("customer", json!(null))
                    .set("account", "acct_1"),
                "/v1/accounts/acct_1/external_accounts/ba_1",
            ),
        ] {
            assert_eq!(path(event), Ok(expected.to_owned()));
        }
        let thin = path(SyntheticEvent::new("v1.invoice.paid")).expect("thin event has a URL");
        assert!(thin.starts_with("/v1/invoices/in_"), "{thin}");
    }

    #[test]
    fn object_without_path_or_with_hostile_id_has_none() {
        let application = path(SyntheticEvent::new("account.application.authorized"));
        assert!(application.expect_err("no path").contains("`application`"));
        for id in ["", "../../v1/customers", "in_1?expand[]=customer", "a b"] {
            let error = path(SyntheticEvent::new("invoice.paid").set("id", id));
            assert!(error.expect_err("id is hostile").contains("lacks an id"), "{id}");
        }
        let none = path(SyntheticEvent::new("v1.billing.meter.no_meter_found"));
        assert_eq!(none, Err("the event names no object".to_owned()));
    }
}
