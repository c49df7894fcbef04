//! The metrics and labels that the dashboard and the alert rules name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const ALERTS: &str = include_str!("../../../docs/observability/alerts.yml");
const DASHBOARD: &str = include_str!("../../../docs/observability/dashboard.json");

const PREFIX: &str = "stripe_webhook_";

/// Labels that Prometheus adds when it scrapes a process.
const SCRAPE_LABELS: [&str; 2] = ["instance", "job"];

/// The sources of the labels' values.
const VALUES: [&str; 5] = [
    include_str!("../../../router-core/src/docs/metrics.md"),
    include_str!("../../../router-inbox/src/docs/metrics.md"),
    include_str!("../../../router-stripe/src/docs/metrics.md"),
    include_str!("../../../router-core/src/endpoint/refusal.rs"),
    include_str!("../../../router-core/src/signature/error.rs"),
];

/// The metrics of the docs, whose tables are tested against the code.
struct Metrics(BTreeMap<String, BTreeSet<String>>);

impl Metrics {
    /// Returns the names of the series with their labels. A histogram has three series.
    fn documented() -> Self {
        let [core, inbox, stripe, ..] = VALUES;
        let mut series = BTreeMap::new();
        for row in [core, inbox, stripe]
            .iter()
            .flat_map(|table| table.lines())
            .filter(|row| row.contains('`'))
        {
            let [_, name, kind, labels, ..] = row.split('|').map(str::trim).collect::<Vec<_>>()[..]
            else {
                panic!("row has too few columns: {row}");
            };
            let name = name.trim_matches('`');
            let labels = labels.split(", ").map(|label| label.trim_matches('`'));
            let labels: BTreeSet<String> = labels.chain(SCRAPE_LABELS).map(str::to_owned).collect();
            let suffixes: &[&str] =
                if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            for suffix in suffixes {
                let mut labels = labels.clone();
                labels.extend((*suffix == "_bucket").then(|| "le".to_owned()));
                series.insert(format!("{name}{suffix}"), labels);
            }
        }
        Self(series)
    }

    /// Checks a text with expressions, and templates of their results. Returns the unknown names.
    ///
    /// A label in braces must be a label of the metric before it. A label of a clause or template
    /// must be a label of any metric of the text.
    fn unknown_names(&self, text: &str) -> Vec<String> {
        let mut unknown = Vec::new();
        let mut known_labels = BTreeSet::new();
        for (begin, _) in text.match_indices(PREFIX) {
            let (name, rest) = split_name(&text[begin..]);
            let Some(labels) = self.0.get(name) else {
                unknown.push(name.to_owned());
                continue;
            };
            known_labels.extend(labels.iter().map(String::as_str));
            let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            for matcher in matchers.into_iter().flat_map(|(matchers, _)| matchers.split("\",")) {
                let (label, value) = split_name(matcher.trim_start());
                if !labels.contains(label) {
                    unknown.push(format!("{name}{{{label}}}"));
                }
                unknown.extend(unknown_values(value));
            }
        }
        let clauses = ["by (", "on (", "without ("].iter().flat_map(|begin| {
            text.split(begin).skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
        });
        let templates = ["$labels.", "{{"].iter().flat_map(|begin| {
            text.split(begin).skip(1).map(|rest| split_name(rest.trim_start()).0)
        });
        let labels = clauses.flat_map(|labels| labels.split(',')).chain(templates).map(str::trim);
        // A template of an alert begins with a variable.
        let labels = labels.filter(|label| !label.is_empty());
        unknown.extend(labels.filter(|label| !known_labels.contains(label)).map(str::to_owned));
        unknown
    }
}

/// Returns the unknown parts of a label's value. Statuses and variables are not checked.
fn unknown_values(matcher: &str) -> impl Iterator<Item = String> {
    let parts = matcher.split(|char| "=~!\"|().*".contains(char));
    let parts = parts.filter(|part| part.starts_with(|char: char| char.is_ascii_alphabetic()));
    parts.filter(|part| !VALUES.iter().any(|text| text.contains(part))).map(str::to_owned)
}

/// Splits a text after its first name.
fn split_name(text: &str) -> (&str, &str) {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
    text.split_at(text.find(|char| !is_part(char)).unwrap_or(text.len()))
}

/// Returns each expression in a dashboard together with its legend, and each query of a variable.
fn expressions(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
            let own = format!("{} {}", text("expr"), text("legendFormat"));
            let nested = fields.iter().filter(|(key, _)| *key != "expr").map(|(_, value)| value);
            nested.flat_map(expressions).chain([own]).filter(|text| text.contains(PREFIX)).collect()
        }
        Value::Array(values) => values.iter().flat_map(expressions).collect(),
        Value::String(text) if text.contains(PREFIX) => vec![text.clone()],
        _ => Vec::new(),
    }
}

#[test]
fn dashboard_names_existing_metrics_and_labels() {
    let metrics = Metrics::documented();
    let dashboard = serde_json::from_str(DASHBOARD).expect("dashboard is JSON");
    let expressions = expressions(&dashboard);
    assert!(expressions.len() > 20, "{expressions:#?}");
    for expression in expressions {
        assert_eq!(metrics.unknown_names(&expression), [""; 0], "in {expression}");
    }
}

#[test]
fn alerts_name_existing_metrics_and_labels() {
    let metrics = Metrics::documented();
    let alerts: Vec<&str> = ALERTS.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 5, "{alerts:#?}");
    for alert in alerts {
        assert!(alert.contains(PREFIX), "{alert}");
        assert_eq!(metrics.unknown_names(alert), [""; 0], "in {alert}");
    }
}

/// An alert refers the operator to a section of the docs.
#[test]
fn each_alert_refers_to_an_existing_section() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for alert in ALERTS.split("- alert: ").skip(1) {
        let alert = alert.split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, reference) = alert.split_once("; see \"").expect("alert refers to a section");
        let (section, page) = reference.split_once("\" in ").expect("section is on a page");
        let page = page.split_inclusive(".md").next().expect("page has a name");
        let text = std::fs::read_to_string(root.join(page)).expect(page);
        let heading = format!("# {section}");
        assert!(text.lines().any(|line| line.ends_with(&heading)), "{page} has no {heading}");
    }
}

#[test]
fn unknown_metric_or_label_is_found() {
    let metrics = Metrics::documented();
    for (text, unknown) in [
        (r#"sum by (handler) (stripe_webhook_handlers_total{job="a",outcome="done"})"#, ""),
        ("stripe_webhook_inbox_oldest_due_seconds {{handler}}", ""),
        ("sum by (le) (stripe_webhook_event_duration_seconds_bucket)", ""),
        ("stripe_webhook_handler_total", "stripe_webhook_handler_total"),
        ("stripe_webhook_event_duration_seconds", "stripe_webhook_event_duration_seconds"),
        (
            r#"stripe_webhook_requests_total{job="a",status=~"5.."}"#,
            "stripe_webhook_requests_total{status}",
        ),
        (r#"stripe_webhook_refused_total{reason=~"signature_(mismatch|bad).*"}"#, "bad"),
        (r#"stripe_webhook_events_total{outcome="unstored"}"#, "unstored"),
        ("sum by (job, reason) (stripe_webhook_requests_total)", "reason"),
        ("sum by (le) (stripe_webhook_event_duration_seconds_sum)", "le"),
        ("stripe_webhook_refused_total {{ $labels.handler }}", "handler"),
        ("stripe_webhook_refused_total {{status}}", "status"),
    ] {
        assert_eq!(metrics.unknown_names(text).join(" "), unknown, "in {text}");
    }
}
