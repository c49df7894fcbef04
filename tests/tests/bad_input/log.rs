//! How bad the log says that it was.

use std::{cell::Cell, io, sync::Once};

use tracing::{Level, Metadata};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

thread_local! {
    /// The worst level since it was last forgotten; the runtime stays on the thread of its test.
    static WORST: Cell<Option<Level>> = const { Cell::new(None) };
}

/// Keeps the levels, and not the lines.
struct Levels;

impl MakeWriter<'_> for Levels {
    type Writer = io::Sink;

    fn make_writer(&self) -> io::Sink {
        io::sink()
    }

    fn make_writer_for(&self, line: &Metadata<'_>) -> io::Sink {
        // The worst level is the least.
        let worst = WORST.get().map_or(*line.level(), |worst| worst.min(*line.level()));
        WORST.set(Some(worst));
        io::sink()
    }
}

/// Forgets what was logged until now.
pub(crate) fn forget() {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(Levels).init();
    });
    WORST.set(None);
}

/// The worst level of what was logged since.
pub(crate) fn worst() -> Option<Level> {
    WORST.take()
}
