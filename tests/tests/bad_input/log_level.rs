//! Records the most severe level that is logged.

use std::{cell::Cell, io, sync::Once};

use tracing::{Level, Metadata};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

thread_local! {
    /// The most severe level since the last reset. A test's runtime stays on the test's thread.
    static WORST: Cell<Option<Level>> = const { Cell::new(None) };
}

/// A log writer that records the level of each line and discards the text.
struct LevelRecorder;

impl MakeWriter<'_> for LevelRecorder {
    type Writer = io::Sink;

    fn make_writer(&self) -> io::Sink {
        io::sink()
    }

    fn make_writer_for(&self, line: &Metadata<'_>) -> io::Sink {
        // `Level` orders ERROR below WARN, so the minimum is the most severe.
        let worst = WORST.get().map_or(*line.level(), |worst| worst.min(*line.level()));
        WORST.set(Some(worst));
        io::sink()
    }
}

/// Clears the recorded level. The first call installs the subscriber.
pub(crate) fn reset() {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::WARN)
            .with_writer(LevelRecorder)
            .init();
    });
    WORST.set(None);
}

/// Returns the most severe level logged since the last reset, and clears it.
pub(crate) fn take_worst() -> Option<Level> {
    WORST.take()
}
