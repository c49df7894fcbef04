//! A case of each code, and the similar case without a finding.

use serde_json::{Value, json};

use super::{
    Code, Destination, Environment, Finding, ProgramRoutes, Severity, clock_skew, compare,
};

fn routes_for(patterns: &[&str]) -> ProgramRoutes {
    let route = |pattern: &&str| json!({"pattern": pattern, "handler": format!("on.{pattern}")});
    parse_routes(&Value::from_iter(patterns.iter().map(route)))
}

fn parse_routes(json: &Value) -> ProgramRoutes {
    serde_json::from_value(json.clone()).expect("routes are valid")
}

/// Returns an event destination with these fields in place of the defaults.
fn destination(fields: Value) -> Value {
    let mut object = json!({
        "id": "ed_1",
        "object": "v2.core.event_destination",
        "enabled_events": ["invoice.paid"],
        "event_payload": "snapshot",
        "events_from": ["@self"],
        "livemode": false,
        "snapshot_api_version": "2026-10-28.endive",
        "status": "enabled",
        "type": "webhook_endpoint",
        "webhook_endpoint": {"url": "https://shop.example/webhook"},
    });
    let (Value::Object(object_fields), Value::Object(fields)) = (&mut object, fields) else {
        panic!("fields are an object")
    };
    object_fields.extend(fields);
    object
}

fn parse(destinations: &[Value]) -> Vec<Destination> {
    let json: String = destinations.iter().map(Value::to_string).collect();
    Destination::parse_all(&json).expect("destinations are valid")
}

fn check(routes: &ProgramRoutes, destinations: &[Value]) -> Vec<Finding> {
    compare(routes, &parse(destinations), &Environment::default())
}

fn codes(findings: &[Finding]) -> Vec<Code> {
    findings.iter().map(|finding| finding.code).collect()
}

fn fix(finding: &Finding) -> String {
    finding.fix.as_ref().expect("finding has a fix").to_string()
}

#[test]
fn handled_type_that_is_not_enabled_is_found() {
    let routes = routes_for(&["invoice.paid", "invoice.voided", "customer.tax_id.*"]);
    let enabled = ["invoice.paid", "customer.tax_id.created", "customer.tax_id.deleted"];
    let findings = check(&routes, &[destination(json!({"enabled_events": enabled}))]);
    assert_eq!(codes(&findings), [Code::NotEnabled]);
    assert_eq!(findings[0].severity, Severity::Error);
    assert_eq!(findings[0].event_types, ["customer.tax_id.updated", "invoice.voided"]);
    assert_eq!(
        findings[0].message,
        "The handlers on.customer.tax_id.*, on.invoice.voided take customer.tax_id.updated, \
         invoice.voided, which ed_1 does not send."
    );
    assert_eq!(
        fix(&findings[0]),
        "POST /v2/core/event_destinations/ed_1 {\"enabled_events\":[\"invoice.paid\",\
         \"customer.tax_id.created\",\"customer.tax_id.deleted\",\"customer.tax_id.updated\",\
         \"invoice.voided\"]}"
    );
    let all = [&enabled[..], &["customer.tax_id.updated", "invoice.voided"]].concat();
    assert_eq!(check(&routes, &[destination(json!({"enabled_events": all}))]), []);
}

#[test]
fn type_of_another_provider_need_not_be_enabled() {
    let routes = routes_for(&["openai.response.completed", "invoice.of_tomorrow"]);
    let findings = check(&routes, &[destination(json!({"enabled_events": ["invoice.paid"]}))]);
    let is_of = |code| findings.iter().find(|finding: &&Finding| finding.code == code);
    let unknown = is_of(Code::UnknownType).expect("it is found");
    assert_eq!((unknown.severity, &unknown.fix), (Severity::Info, &None));
    assert_eq!(unknown.event_types, ["openai.response.completed"]);
    // Stripe may add a type to those that begin with `invoice`.
    let missing = is_of(Code::NotEnabled).expect("it is found");
    assert_eq!(missing.event_types, ["invoice.of_tomorrow"]);
    let enabled = ["openai.response.completed", "invoice.of_tomorrow"];
    assert_eq!(check(&routes, &[destination(json!({"enabled_events": enabled}))]), []);
}

#[test]
fn handler_of_all_types_needs_no_type_enabled() {
    for pattern in ["*", "(unhandled)"] {
        let events = json!(["customer.created"]);
        assert_eq!(
            check(&routes_for(&[pattern]), &[destination(json!({"enabled_events": events}))]),
            []
        );
        let events = json!(["*"]);
        assert_eq!(
            check(&routes_for(&[pattern]), &[destination(json!({"enabled_events": events}))]),
            []
        );
    }
}

#[test]
fn destination_has_no_fix_if_owner_is_unknown() {
    let other = json!({"id": "ed_2", "webhook_endpoint": {"url": "https://blog.example"}});
    let destinations = [destination(json!({})), destination(other)];
    let routes = routes_for(&["invoice.paid", "invoice.voided"]);
    let findings = check(&routes, &destinations);
    assert_eq!(codes(&findings), [Code::NotEnabled]);
    assert_eq!(findings[0].fix, None);
    // The payload does not say whose destination it is either.
    let thin = json!({"id": "ed_2", "event_payload": "thin", "status": "disabled",
        "enabled_events": ["v1.invoice.voided"]});
    let thin_routes = routes_for(&["invoice.paid", "v1.invoice.voided", "v1.charge.failed"]);
    let findings = check(&thin_routes, &[destination(json!({})), destination(thin)]);
    assert_eq!(codes(&findings), [Code::NotEnabled, Code::Disabled]);
    assert!(findings.iter().all(|finding| finding.fix.is_none()));
    let urls = vec!["https://shop.example/webhook".to_owned()];
    let findings =
        compare(&routes, &parse(&destinations), &Environment { urls, ..Environment::default() });
    assert!(fix(&findings[0]).starts_with("POST /v2/core/event_destinations/ed_1 "));
}

#[test]
fn fix_is_at_destination_of_handler_accounts() {
    let connect = json!({"id": "ed_2", "events_from": ["@accounts"]});
    let destinations = parse(&[destination(connect), destination(json!({}))]);
    let urls = vec!["https://shop.example/webhook".to_owned()];
    let environment = Environment { urls, ..Environment::default() };
    for (endpoint, id) in [(Value::Null, "ed_1"), (json!("connect"), "ed_2")] {
        let route = json!({"pattern": "invoice.voided", "handler": "void", "endpoint": endpoint});
        let findings = compare(&parse_routes(&json!([route])), &destinations, &environment);
        assert_eq!(findings[0].code, Code::NotEnabled);
        assert_eq!(findings[0].destinations, [id]);
    }
}

#[test]
fn handler_of_other_mode_needs_nothing() {
    let route = json!([{"pattern": "invoice.voided", "handler": "live", "livemode": true},
        {"pattern": "invoice.paid", "handler": "test", "livemode": false}]);
    assert_eq!(check(&parse_routes(&route), &[destination(json!({}))]), []);
    let live = destination(json!({"livemode": true}));
    assert_eq!(codes(&check(&parse_routes(&route), &[live])), [Code::NotEnabled]);
}

#[test]
fn connect_handler_needs_events_of_connected_accounts() {
    let routes = parse_routes(&json!([
        {"pattern": "invoice.paid", "handler": "shop.fulfil", "endpoint": "connect"}
    ]));
    let findings = check(&routes, &[destination(json!({}))]);
    assert_eq!(codes(&findings), [Code::Scope]);
    assert_eq!(
        (findings[0].message.as_str(), &findings[0].fix),
        (
            "The handler shop.fulfil takes invoice.paid of connected accounts, which ed_1 does not send.",
            &None
        )
    );
    for from in [json!(["@accounts"]), json!(["other_accounts", "self"]), Value::Null] {
        assert_eq!(check(&routes, &[destination(json!({"events_from": from}))]), [], "{from}");
    }
}

#[test]
fn other_payload_kind_is_found() {
    let thin = destination(json!({"event_payload": "thin", "enabled_events": ["v1.invoice.paid"]}));
    let snapshot = destination(json!({}));
    let findings = check(&routes_for(&["invoice.paid"]), std::slice::from_ref(&thin));
    assert_eq!(codes(&findings), [Code::PayloadKind, Code::Unhandled]);
    assert_eq!(
        findings[0].message,
        "The handler on.invoice.paid takes invoice.paid, but ed_1 sends thin events."
    );
    let findings = check(&routes_for(&["v1.invoice.paid"]), std::slice::from_ref(&snapshot));
    assert_eq!(codes(&findings), [Code::PayloadKind, Code::Unhandled]);
    let all = destination(json!({"enabled_events": ["*"]}));
    let findings = check(&routes_for(&["v1.invoice.paid"]), &[all]);
    assert_eq!(codes(&findings), [Code::PayloadKind, Code::Wildcard]);
    let both = parse_routes(&json!([{"pattern": "invoice.paid", "handler": "shop.fulfil"},
        {"pattern": "v1.invoice.paid", "handler": "shop.fulfil"}]));
    for destination in [thin, snapshot] {
        assert_eq!(check(&both, &[destination]), []);
    }
}

#[test]
fn wildcard_and_unhandled_types_are_information() {
    let routes = routes_for(&["invoice.paid"]);
    let findings = check(&routes, &[destination(json!({"enabled_events": ["*"]}))]);
    assert_eq!(codes(&findings), [Code::Wildcard]);
    let events = json!(["invoice.paid", "charge.failed"]);
    let findings = check(&routes, &[destination(json!({"enabled_events": events}))]);
    assert_eq!(codes(&findings), [Code::Unhandled]);
    assert_eq!(findings[0].severity, Severity::Info);
    assert_eq!(findings[0].event_types, ["charge.failed"]);
}

#[test]
fn disabled_destination_can_be_enabled() {
    let routes = routes_for(&["invoice.paid"]);
    let findings = check(&routes, &[destination(json!({"status": "disabled"}))]);
    assert_eq!(codes(&findings), [Code::Disabled]);
    assert_eq!(fix(&findings[0]), "POST /v2/core/event_destinations/ed_1/enable");
    let endpoint = json!({"id": "we_1", "object": "webhook_endpoint", "status": "disabled",
        "enabled_events": ["invoice.paid"], "url": "https://shop.example/webhook"});
    let findings = check(&routes, &[endpoint]);
    assert_eq!(fix(&findings[0]), "POST /v1/webhook_endpoints/we_1 disabled=false");
}

/// The remedy is to enable the destination. If another one sent the type too, its events would
/// arrive twice once the first is enabled.
#[test]
fn type_of_disabled_destination_has_one_finding() {
    let routes = routes_for(&["invoice.paid", "invoice.voided"]);
    let off = json!({"id": "ed_off", "status": "disabled", "enabled_events": ["invoice.voided"]});
    let thin = json!({"event_payload": "thin", "enabled_events": ["v1.invoice.voided"]});
    for enabled in [json!({}), thin, json!({"events_from": ["@accounts"]})] {
        let both = [destination(off.clone()), destination(enabled.clone()), destination(json!({}))];
        let findings = check(&routes, &both);
        let off: Vec<_> = findings.iter().filter(|found| found.code == Code::Disabled).collect();
        assert_eq!((off.len(), off[0].severity), (1, Severity::Error), "{enabled}: {findings:?}");
        assert_eq!(off[0].destinations, ["ed_off"]);
        assert!(!codes(&findings).contains(&Code::NotEnabled), "{enabled}: {findings:?}");
    }
    // A type that no destination has is not enabled.
    let other = routes_for(&["invoice.paid", "invoice.voided", "charge.failed"]);
    let findings = check(&other, &[destination(off), destination(json!({}))]);
    assert_eq!(codes(&findings), [Code::NotEnabled, Code::Disabled]);
    assert_eq!(findings[0].event_types, ["charge.failed"]);
}

#[test]
fn api_version_is_compared_without_flags() {
    let check = |expected: Option<&str>, fields: Value| {
        let expected_api_version = expected.map(str::to_owned);
        let environment = Environment { expected_api_version, ..Environment::default() };
        codes(&compare(
            &routes_for(&["invoice.paid"]),
            &parse(&[destination(fields)]),
            &environment,
        ))
    };
    assert_eq!(check(None, json!({})), []);
    assert_eq!(check(Some("2026-10-28.endive"), json!({})), []);
    let flagged = json!({"snapshot_api_version": "2026-10-28.endive; some_beta=v1"});
    assert_eq!(check(Some("2026-10-28.endive"), flagged), []);
    assert_eq!(check(Some("2025-09-30.clover"), json!({})), [Code::ApiVersion]);
    let default = json!({"snapshot_api_version": null});
    assert_eq!(check(Some("2026-10-28.endive"), default), [Code::ApiVersion]);
}

#[test]
fn same_event_twice_at_one_url_is_found() {
    let routes = routes_for(&["invoice.paid", "invoice.voided"]);
    let both = |fields: Value| {
        let first = json!({"enabled_events": ["invoice.paid", "invoice.voided"]});
        codes(&check(&routes, &[destination(first), destination(fields)]))
    };
    assert_eq!(both(json!({"id": "ed_2"})), [Code::DuplicateUrl]);
    assert_eq!(
        both(json!({"id": "ed_2", "enabled_events": ["*"]})),
        [Code::DuplicateUrl, Code::Wildcard]
    );
    assert_eq!(both(json!({"id": "ed_2", "events_from": ["@accounts"]})), []);
    assert_eq!(
        both(json!({"id": "ed_2", "webhook_endpoint": {"url": "https://shop.example/2"}})),
        []
    );
}

#[test]
fn disabled_destination_with_successor_is_information() {
    // The remedies of `api_version` and `duplicate_url` are to disable a destination.
    let routes = routes_for(&["invoice.paid"]);
    let environment = Environment {
        urls: vec!["https://shop.example/webhook".to_owned()],
        expected_api_version: Some("2026-10-28.endive".to_owned()),
        ..Environment::default()
    };
    let check = |fields: Value| {
        let mut old = destination(json!({"id": "ed_0", "status": "disabled",
            "snapshot_api_version": "2025-09-30.clover"}));
        old.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        compare(&routes, &parse(&[old, destination(json!({}))]), &environment)
    };
    let findings = check(json!({}));
    assert_eq!(codes(&findings), [Code::Disabled]);
    assert_eq!((findings[0].severity, &findings[0].fix), (Severity::Info, &None));
    let connect = check(json!({"events_from": ["@accounts"]}));
    assert_eq!(codes(&connect), [Code::Disabled, Code::ApiVersion]);
    assert_eq!(connect[0].severity, Severity::Error);
    assert_eq!(codes(&check(json!({"enabled_events": ["invoice.voided"]}))), [Code::Disabled]);
    assert_eq!(check(json!({"enabled_events": ["*"]}))[0].severity, Severity::Info);
    let query = check(json!({"webhook_endpoint": {"url": "https://shop.example/webhook?v=1"}}));
    assert_eq!(query[0].severity, Severity::Info);
    // Without a URL, the enabled destination may be another program's.
    let other = destination(json!({"webhook_endpoint": {"url": "https://shop.example/2"}}));
    let old = destination(json!({"id": "ed_0", "status": "disabled"}));
    let findings = compare(&routes, &parse(&[old, other]), &Environment::default());
    assert_eq!((findings[0].code, findings[0].severity), (Code::Disabled, Severity::Error));
}

#[test]
fn each_url_needs_a_destination() {
    let urls = ["https://shop.example/webhook", "https://shop.example/webhok"];
    let environment =
        Environment { urls: urls.map(str::to_owned).to_vec(), ..Environment::default() };
    let findings =
        compare(&routes_for(&["invoice.paid"]), &parse(&[destination(json!({}))]), &environment);
    assert_eq!(codes(&findings), [Code::NoDestination]);
    assert_eq!(findings[0].message, "No destination has the URL https://shop.example/webhok.");
}

#[test]
fn http_url_is_found() {
    let http = destination(json!({"webhook_endpoint": {"url": "http://shop.example/webhook"}}));
    assert_eq!(codes(&check(&routes_for(&["invoice.paid"]), &[http])), [Code::InsecureUrl]);
}

#[test]
fn program_without_destination_has_one_finding() {
    let routes = routes_for(&["invoice.paid"]);
    assert_eq!(codes(&check(&routes, &[])), [Code::NoDestination]);
    let urls = vec!["https://shop.example/hook".to_owned()];
    let environment = Environment { urls, ..Environment::default() };
    let findings = compare(&routes, &parse(&[destination(json!({}))]), &environment);
    assert_eq!(codes(&findings), [Code::NoDestination]);
    let existing = "pass the URL of an existing destination: https://shop.example/webhook.";
    assert!(findings[0].remedy.ends_with(existing), "{findings:?}");
    let query = json!({"webhook_endpoint": {"url": "https://shop.example/hook?version=2"}});
    assert_eq!(compare(&routes, &parse(&[destination(query)]), &environment), []);
}

#[test]
fn clock_skew_beyond_five_seconds_is_found() {
    let check = |skew| {
        let environment = Environment { clock_skew: Some(skew), ..Environment::default() };
        let findings = compare(
            &routes_for(&["invoice.paid"]),
            &parse(&[destination(json!({}))]),
            &environment,
        );
        findings.first().map(|finding| (finding.code, finding.severity))
    };
    assert_eq!((check(5), check(-5)), (None, None));
    assert_eq!(check(6), Some((Code::ClockSkew, Severity::Warning)));
    assert_eq!(check(-300), Some((Code::ClockSkew, Severity::Warning)));
    assert_eq!(check(i64::MIN), Some((Code::ClockSkew, Severity::Error)));
}

#[test]
fn slow_response_is_not_clock_skew() {
    use std::time::{Duration, UNIX_EPOCH};
    let at = |seconds: f64| UNIX_EPOCH + Duration::from_secs_f64(1000.0 + seconds);
    assert_eq!(clock_skew(at(0.9), at(0.0), at(1.0)), 0);
    assert_eq!(clock_skew(at(0.0), at(9.0), at(10.0)), 0);
    assert_eq!(clock_skew(at(20.5), at(0.0), at(21.0)), 19);
    assert_eq!(clock_skew(at(0.0), at(20.0), at(10.0)), -10);
}

#[test]
fn secret_error_is_reported() {
    let secret_error = Some("it is blank".to_owned());
    let environment = Environment { secret_error, ..Environment::default() };
    let findings =
        compare(&routes_for(&["invoice.paid"]), &parse(&[destination(json!({}))]), &environment);
    assert_eq!(codes(&findings), [Code::Secret]);
    assert_eq!(findings[0].message, "The signing secret cannot be used: it is blank.");
}

#[test]
fn webhook_endpoint_in_both_lists_is_one_destination() {
    let endpoint = |id: &str, version: &str| {
        json!({"id": id, "object": "webhook_endpoint", "status": "enabled", "api_version": version,
            "enabled_events": ["invoice.paid"], "url": "https://shop.example/webhook"})
    };
    let same_id = json!({"id": "we_1", "webhook_endpoint": {"url": null}});
    let merged = parse(&[endpoint("we_1", "2024-06-20"), destination(same_id)]);
    assert_eq!(merged.len(), 1);
    assert_eq!(merged[0].url.as_deref(), Some("https://shop.example/webhook"));
    let alike = endpoint("we_1", "2026-10-28.endive");
    assert_eq!(parse(&[alike.clone(), destination(json!({}))]).len(), 1);
    let mut reordered = [alike.clone(), destination(json!({}))];
    reordered[0]["enabled_events"] = json!(["invoice.paid", "charge.failed"]);
    reordered[1]["enabled_events"] = json!(["charge.failed", "invoice.paid"]);
    assert_eq!(parse(&reordered).len(), 1);
    assert_eq!(parse(&[alike.clone(), alike, destination(json!({}))]).len(), 2);
    assert_eq!(parse(&[endpoint("we_1", "2024-06-20"), destination(json!({}))]).len(), 2);
}

#[test]
fn export_is_parsed_if_complete() {
    let item = destination(json!({}));
    let list = json!({"data": [item], "next_page_url": null}).to_string();
    let all = Destination::parse_all(&format!("{list}\n[]\n{item}")).expect("export is valid");
    assert_eq!(all.len(), 2);
    for (text, reason) in [
        (json!({"data": [item], "has_more": true}).to_string(), "a list has further pages"),
        ("{".to_owned(), "not JSON: EOF"),
        (json!({"id": "in_1"}).to_string(), "in_1 is not an event destination: missing field"),
        (destination(json!({"object": "invoice"})).to_string(), "ed_1 is a `invoice`, not"),
    ] {
        let error = Destination::parse_all(&text).expect_err("export is invalid");
        assert!(error.starts_with(reason), "{error}");
    }
}
