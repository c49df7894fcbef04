//! Each code, with the case in which the comparison is silent.

use serde_json::{Value, json};

use super::{Code, Destination, Facts, Finding, Severity, WantedRoutes, clock_skew, examine};

fn routes(patterns: &[&str]) -> WantedRoutes {
    let route = |pattern: &&str| json!({"pattern": pattern, "handler": format!("on.{pattern}")});
    wanted(&Value::from_iter(patterns.iter().map(route)))
}

fn wanted(routes: &Value) -> WantedRoutes {
    serde_json::from_value(routes.clone()).expect("routes are valid")
}

/// Returns an event destination, with these fields instead of the usual ones.
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

fn sent(destinations: &[Value]) -> Vec<Destination> {
    let json: String = destinations.iter().map(Value::to_string).collect();
    Destination::parse_all(&json).expect("destinations are valid")
}

fn check(wanted: &WantedRoutes, destinations: &[Value]) -> Vec<Finding> {
    examine(wanted, &sent(destinations), &Facts::default())
}

fn codes(findings: &[Finding]) -> Vec<Code> {
    findings.iter().map(|finding| finding.code).collect()
}

fn mend(finding: &Finding) -> String {
    finding.mend.as_ref().expect("finding can be mended").to_string()
}

#[test]
fn handled_type_must_be_enabled() {
    let wanted = routes(&["invoice.paid", "invoice.voided", "customer.tax_id.*"]);
    let enabled = ["invoice.paid", "customer.tax_id.created", "customer.tax_id.deleted"];
    let findings = check(&wanted, &[destination(json!({"enabled_events": enabled}))]);
    assert_eq!(codes(&findings), [Code::NotEnabled]);
    assert_eq!(findings[0].severity, Severity::Error);
    assert_eq!(findings[0].event_types, ["customer.tax_id.updated", "invoice.voided"]);
    assert_eq!(
        findings[0].what,
        "The handlers on.customer.tax_id.*, on.invoice.voided take customer.tax_id.updated, \
         invoice.voided, which ed_1 does not send."
    );
    assert_eq!(
        mend(&findings[0]),
        "POST /v2/core/event_destinations/ed_1 {\"enabled_events\":[\"invoice.paid\",\
         \"customer.tax_id.created\",\"customer.tax_id.deleted\",\"customer.tax_id.updated\",\
         \"invoice.voided\"]}"
    );
    let all = [&enabled[..], &["customer.tax_id.updated", "invoice.voided"]].concat();
    assert_eq!(check(&wanted, &[destination(json!({"enabled_events": all}))]), []);
}

#[test]
fn handler_of_all_types_takes_what_is_sent() {
    for pattern in ["*", "(unhandled)"] {
        let events = json!(["customer.created"]);
        assert_eq!(
            check(&routes(&[pattern]), &[destination(json!({"enabled_events": events}))]),
            []
        );
        let events = json!(["*"]);
        assert_eq!(
            check(&routes(&[pattern]), &[destination(json!({"enabled_events": events}))]),
            []
        );
    }
}

#[test]
fn another_program_is_not_changed_without_url() {
    let other = json!({"id": "ed_2", "webhook_endpoint": {"url": "https://blog.example"}});
    let destinations = [destination(json!({})), destination(other)];
    let wanted = routes(&["invoice.paid", "invoice.voided"]);
    let findings = check(&wanted, &destinations);
    assert_eq!(codes(&findings), [Code::NotEnabled]);
    assert_eq!(findings[0].mend, None);
    let urls = vec!["https://shop.example/webhook".to_owned()];
    let findings = examine(&wanted, &sent(&destinations), &Facts { urls, ..Facts::default() });
    assert!(mend(&findings[0]).starts_with("POST /v2/core/event_destinations/ed_1 "));
}

#[test]
fn event_type_is_enabled_where_its_accounts_are() {
    let connect = json!({"id": "ed_2", "events_from": ["@accounts"]});
    let destinations = sent(&[destination(connect), destination(json!({}))]);
    let urls = vec!["https://shop.example/webhook".to_owned()];
    let facts = Facts { urls, ..Facts::default() };
    for (endpoint, id) in [(Value::Null, "ed_1"), (json!("connect"), "ed_2")] {
        let route = json!({"pattern": "invoice.voided", "handler": "void", "endpoint": endpoint});
        let findings = examine(&wanted(&json!([route])), &destinations, &facts);
        assert_eq!(findings[0].code, Code::NotEnabled);
        assert_eq!(findings[0].destinations, [id]);
    }
}

#[test]
fn handler_of_other_mode_needs_nothing() {
    let route = json!([{"pattern": "invoice.voided", "handler": "live", "livemode": true},
        {"pattern": "invoice.paid", "handler": "test", "livemode": false}]);
    assert_eq!(check(&wanted(&route), &[destination(json!({}))]), []);
    let live = destination(json!({"livemode": true}));
    assert_eq!(codes(&check(&wanted(&route), &[live])), [Code::NotEnabled]);
}

#[test]
fn connect_handler_needs_events_of_connected_accounts() {
    let wanted = wanted(&json!([
        {"pattern": "invoice.paid", "handler": "shop.fulfil", "endpoint": "connect"}
    ]));
    let findings = check(&wanted, &[destination(json!({}))]);
    assert_eq!(codes(&findings), [Code::Scope]);
    assert_eq!(
        (findings[0].what.as_str(), &findings[0].mend),
        (
            "The handler shop.fulfil takes invoice.paid of connected accounts, which ed_1 does not send.",
            &None
        )
    );
    for from in [json!(["@accounts"]), json!(["other_accounts", "self"]), Value::Null] {
        assert_eq!(check(&wanted, &[destination(json!({"events_from": from}))]), [], "{from}");
    }
}

#[test]
fn payload_kind_must_fit_handler() {
    let thin = destination(json!({"event_payload": "thin", "enabled_events": ["v1.invoice.paid"]}));
    let snapshot = destination(json!({}));
    let findings = check(&routes(&["invoice.paid"]), std::slice::from_ref(&thin));
    assert_eq!(codes(&findings), [Code::PayloadKind, Code::Unhandled]);
    assert_eq!(
        findings[0].what,
        "The handler on.invoice.paid takes invoice.paid, of which ed_1 sends the thin events."
    );
    let findings = check(&routes(&["v1.invoice.paid"]), std::slice::from_ref(&snapshot));
    assert_eq!(codes(&findings), [Code::PayloadKind, Code::Unhandled]);
    let all = destination(json!({"enabled_events": ["*"]}));
    let findings = check(&routes(&["v1.invoice.paid"]), &[all]);
    assert_eq!(codes(&findings), [Code::PayloadKind, Code::Wildcard]);
    let both = wanted(&json!([{"pattern": "invoice.paid", "handler": "shop.fulfil"},
        {"pattern": "v1.invoice.paid", "handler": "shop.fulfil"}]));
    for destination in [thin, snapshot] {
        assert_eq!(check(&both, &[destination]), []);
    }
}

#[test]
fn wildcard_and_unhandled_types_are_information() {
    let wanted = routes(&["invoice.paid"]);
    let findings = check(&wanted, &[destination(json!({"enabled_events": ["*"]}))]);
    assert_eq!(codes(&findings), [Code::Wildcard]);
    let events = json!(["invoice.paid", "charge.failed"]);
    let findings = check(&wanted, &[destination(json!({"enabled_events": events}))]);
    assert_eq!(codes(&findings), [Code::Unhandled]);
    assert_eq!(findings[0].severity, Severity::Info);
    assert_eq!(findings[0].event_types, ["charge.failed"]);
}

#[test]
fn disabled_destination_can_be_enabled() {
    let wanted = routes(&["invoice.paid"]);
    let findings = check(&wanted, &[destination(json!({"status": "disabled"}))]);
    assert_eq!(codes(&findings), [Code::Disabled]);
    assert_eq!(mend(&findings[0]), "POST /v2/core/event_destinations/ed_1/enable");
    let endpoint = json!({"id": "we_1", "object": "webhook_endpoint", "status": "disabled",
        "enabled_events": ["invoice.paid"], "url": "https://shop.example/webhook"});
    let findings = check(&wanted, &[endpoint]);
    assert_eq!(mend(&findings[0]), "POST /v1/webhook_endpoints/we_1 disabled=false");
}

#[test]
fn api_version_is_compared_without_flags() {
    let check = |expected: Option<&str>, fields: Value| {
        let expected_api_version = expected.map(str::to_owned);
        let facts = Facts { expected_api_version, ..Facts::default() };
        codes(&examine(&routes(&["invoice.paid"]), &sent(&[destination(fields)]), &facts))
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
fn one_url_must_not_get_an_event_twice() {
    let wanted = routes(&["invoice.paid", "invoice.voided"]);
    let both = |fields: Value| {
        let first = json!({"enabled_events": ["invoice.paid", "invoice.voided"]});
        codes(&check(&wanted, &[destination(first), destination(fields)]))
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
    assert_eq!(both(json!({"id": "ed_2", "status": "disabled"})), [Code::Disabled]);
}

#[test]
fn url_must_be_https() {
    let http = destination(json!({"webhook_endpoint": {"url": "http://shop.example/webhook"}}));
    assert_eq!(codes(&check(&routes(&["invoice.paid"]), &[http])), [Code::InsecureUrl]);
}

#[test]
fn program_without_destination_has_one_finding() {
    let wanted = routes(&["invoice.paid"]);
    assert_eq!(codes(&check(&wanted, &[])), [Code::NoDestination]);
    let urls = vec!["https://shop.example/hook".to_owned()];
    let facts = Facts { urls, ..Facts::default() };
    let findings = examine(&wanted, &sent(&[destination(json!({}))]), &facts);
    assert_eq!(codes(&findings), [Code::NoDestination]);
    assert!(findings[0].cure.ends_with("pass one of https://shop.example/webhook."));
    let query = json!({"webhook_endpoint": {"url": "https://shop.example/hook?version=2"}});
    assert_eq!(examine(&wanted, &sent(&[destination(query)]), &facts), []);
}

#[test]
fn clock_may_differ_by_five_seconds() {
    let check = |skew| {
        let facts = Facts { clock_skew: Some(skew), ..Facts::default() };
        let findings =
            examine(&routes(&["invoice.paid"]), &sent(&[destination(json!({}))]), &facts);
        findings.first().map(|finding| (finding.code, finding.severity))
    };
    assert_eq!((check(5), check(-5)), (None, None));
    assert_eq!(check(6), Some((Code::ClockSkew, Severity::Warning)));
    assert_eq!(check(-300), Some((Code::ClockSkew, Severity::Warning)));
    assert_eq!(check(i64::MIN), Some((Code::ClockSkew, Severity::Error)));
}

#[test]
fn slow_answer_is_no_clock_difference() {
    use std::time::{Duration, UNIX_EPOCH};
    let at = |seconds: f64| UNIX_EPOCH + Duration::from_secs_f64(1000.0 + seconds);
    assert_eq!(clock_skew(at(0.9), at(0.0), at(1.0)), 0);
    assert_eq!(clock_skew(at(0.0), at(9.0), at(10.0)), 0);
    assert_eq!(clock_skew(at(20.5), at(0.0), at(21.0)), 19);
    assert_eq!(clock_skew(at(0.0), at(20.0), at(10.0)), -10);
}

#[test]
fn secret_error_is_shown() {
    let secret_error = Some("it is blank".to_owned());
    let facts = Facts { secret_error, ..Facts::default() };
    let findings = examine(&routes(&["invoice.paid"]), &sent(&[destination(json!({}))]), &facts);
    assert_eq!(codes(&findings), [Code::Secret]);
    assert_eq!(findings[0].what, "The signing secret: it is blank.");
}

#[test]
fn webhook_endpoint_in_both_lists_is_one_destination() {
    let endpoint = |id: &str, version: &str| {
        json!({"id": id, "object": "webhook_endpoint", "status": "enabled", "api_version": version,
            "enabled_events": ["invoice.paid"], "url": "https://shop.example/webhook"})
    };
    let same_id = json!({"id": "we_1", "webhook_endpoint": {"url": null}});
    let merged = sent(&[endpoint("we_1", "2024-06-20"), destination(same_id)]);
    assert_eq!(merged.len(), 1);
    assert_eq!(merged[0].url.as_deref(), Some("https://shop.example/webhook"));
    let alike = endpoint("we_1", "2026-10-28.endive");
    assert_eq!(sent(&[alike.clone(), destination(json!({}))]).len(), 1);
    assert_eq!(sent(&[alike.clone(), alike, destination(json!({}))]).len(), 2);
    assert_eq!(sent(&[endpoint("we_1", "2024-06-20"), destination(json!({}))]).len(), 2);
}

#[test]
fn export_of_lists_is_parsed_and_incomplete_one_refused() {
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
