//! The metrics of one test: those of its thread, on which its runtime stays.

use std::collections::BTreeSet;

use metrics::LocalRecorderGuard;
use metrics_util::{
    CompositeKey, MetricKind,
    debugging::{DebugValue, DebuggingRecorder, Snapshotter},
};

pub(crate) struct Metered {
    snapshotter: Snapshotter,
    _here: LocalRecorderGuard<'static>,
}

impl Metered {
    /// Metrics from now on. To be asked for before a router is built, for the descriptions.
    pub(crate) fn begin() -> Self {
        // The guard borrows it for as long as it likes.
        let recorder: &'static DebuggingRecorder = Box::leak(Box::default());
        let snapshotter = recorder.snapshotter();
        Self { snapshotter, _here: metrics::set_default_local_recorder(recorder) }
    }

    /// What changed since this was last asked, sorted, as `name{label="value"} by how much`, without
    /// the prefix that all names have. Of a histogram: each value, in seconds.
    pub(crate) fn changes(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .snapshotter
            .snapshot()
            .into_vec()
            .into_iter()
            .filter_map(|(key, _, _, value)| Some(format!("{} {}", series(&key), change(&value)?)))
            .collect();
        lines.sort();
        lines
    }

    /// The same, of the metrics with these names.
    pub(crate) fn changes_of(&self, names: &[&str]) -> Vec<String> {
        let is_one =
            |line: &String| names.iter().any(|name| line.split(['{', ' ']).next() == Some(name));
        self.changes().into_iter().filter(is_one).collect()
    }

    /// A line for each metric that was ever seen, as the table in the docs has it.
    pub(crate) fn table(&self) -> BTreeSet<String> {
        let rows = self.snapshotter.snapshot().into_vec().into_iter().map(|(key, _, help, _)| {
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
}

fn series(key: &CompositeKey) -> String {
    let name = key.key().name();
    let name = name.strip_prefix("stripe_webhook_").unwrap_or_else(|| panic!("{name} is not ours"));
    let labels: Vec<String> =
        key.key().labels().map(|label| format!("{}={:?}", label.key(), label.value())).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

fn change(value: &DebugValue) -> Option<String> {
    match value {
        DebugValue::Counter(0) => None,
        DebugValue::Counter(by) => Some(by.to_string()),
        DebugValue::Gauge(by) if by.into_inner() == 0.0 => None,
        DebugValue::Gauge(by) => Some(format!("{:+}", by.into_inner())),
        DebugValue::Histogram(values) if values.is_empty() => None,
        DebugValue::Histogram(values) => {
            let values: Vec<f64> = values.iter().map(|value| value.into_inner()).collect();
            Some(format!("{values:?}"))
        }
    }
}
