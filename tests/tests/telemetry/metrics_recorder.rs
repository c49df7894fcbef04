//! Records the metrics of one test: those of its thread, to which its runtime is bound.

use std::collections::BTreeSet;

use metrics::LocalRecorderGuard;
use metrics_util::{
    CompositeKey,
    debugging::{DebugValue, DebuggingRecorder, Snapshotter},
};

use crate::metrics_table::table;

/// The recorded metrics of one test. Dropping it ends the recording.
pub(crate) struct MetricsRecorder {
    snapshotter: Snapshotter,
    _guard: LocalRecorderGuard<'static>,
}

impl MetricsRecorder {
    /// Records this thread's metrics from now on.
    ///
    /// Must be called before a router is built, since building it registers the descriptions.
    pub(crate) fn install() -> Self {
        // The guard borrows the recorder for `'static`.
        let recorder: &'static DebuggingRecorder = Box::leak(Box::default());
        let snapshotter = recorder.snapshotter();
        Self { snapshotter, _guard: metrics::set_default_local_recorder(recorder) }
    }

    /// Returns the changes since the last call, sorted, as `name{label="value"} change`.
    ///
    /// The names lack their common prefix. The change of a histogram is the list of its values, in
    /// seconds.
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

    /// Returns the changes of the metrics with these names.
    pub(crate) fn changes_of(&self, names: &[&str]) -> Vec<String> {
        let is_selected =
            |line: &String| names.iter().any(|name| line.split(['{', ' ']).next() == Some(name));
        self.changes().into_iter().filter(is_selected).collect()
    }

    /// Returns a row for each metric recorded so far, in the format of the table in the docs.
    pub(crate) fn table(&self) -> BTreeSet<String> {
        table(&self.snapshotter)
    }
}

fn series(key: &CompositeKey) -> String {
    let name = key.key().name();
    let name =
        name.strip_prefix("stripe_webhook_").unwrap_or_else(|| panic!("{name} lacks the prefix"));
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
