//! The table of metrics in the docs, made from recorded metrics.

use std::collections::BTreeSet;

use metrics_util::{MetricKind, debugging::Snapshotter};

/// Returns a row for each metric recorded so far, in the format of the table in the docs.
pub(crate) fn table(snapshotter: &Snapshotter) -> BTreeSet<String> {
    let rows = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, help, _)| {
        let kind = match key.kind() {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let labels: Vec<String> =
            key.key().labels().map(|label| format!("`{}`", label.key())).collect();
        let (name, labels) = (key.key().name(), labels.join(", "));
        format!("| `{name}` | {kind} | {labels} | {} |", help.unwrap_or_default())
    });
    rows.collect()
}
