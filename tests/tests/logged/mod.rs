//! What is logged, as an operator reads it.

use std::{cell::RefCell, io, sync::Once};

use tracing_subscriber::filter::LevelFilter;

thread_local! {
    /// What was logged. Each test has a thread of its own, and its runtime stays on it.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ToLog;

impl io::Write for ToLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs from now on, for the process as a whole: one for each thread would race for the callsites that they share.
pub(crate) fn log(level: LevelFilter) {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(level);
        subscriber.with_ansi(false).without_time().with_writer(|| ToLog).init();
    });
}

/// What this thread logged since it last asked.
pub(crate) fn logged() -> String {
    let log = LOG.with_borrow_mut(std::mem::take);
    String::from_utf8(log).expect("the log is UTF-8")
}
