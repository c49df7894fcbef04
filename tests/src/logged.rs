//! Captures the log as text, as an operator reads it.

use std::{
    cell::{Cell, RefCell},
    io,
    sync::Once,
};

use tracing_subscriber::{filter::LevelFilter, fmt::writer::MakeWriterExt as _};

thread_local! {
    /// The captured log. Each test has its own thread, and its runtime stays on that thread.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The level of the captured lines.
    static LEVEL: Cell<LevelFilter> = const { Cell::new(LevelFilter::OFF) };
}

/// A writer that appends to [`LOG`].
struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts capturing this thread's lines of this level and above.
///
/// The first call installs one subscriber for the whole process. A subscriber per thread would race
/// for the callsites, which cache their interest globally.
pub fn log(level: LevelFilter) {
    static SUBSCRIBER: Once = Once::new();
    LEVEL.set(level);
    SUBSCRIBER.call_once(|| {
        let writer = (|| LogWriter).with_filter(|line| *line.level() <= LEVEL.get());
        let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE);
        subscriber.with_ansi(false).without_time().with_writer(writer).init();
    });
}

/// Returns the lines that this thread has logged since the last call.
pub fn logged() -> String {
    let log = LOG.with_borrow_mut(std::mem::take);
    String::from_utf8(log).expect("log lines are UTF-8")
}
