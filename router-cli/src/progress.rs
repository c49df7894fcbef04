//! The progress bar of a long run.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::output::Output;

/// Creates a progress bar on stderr.
///
/// The bar is hidden if stderr is not a terminal, or if JSON goes to the same terminal.
pub(crate) fn bar(total: usize, output: &Output) -> ProgressBar {
    visible_bar(total as u64, "{bar:40} {pos}/{len}  {rate}/s  {eta} left", output)
}

/// Creates a progress bar of a span of time on stderr, with a message. It is hidden like
/// [`bar`]'s.
pub(crate) fn span_bar(span: Duration, output: &Output) -> ProgressBar {
    visible_bar(span.as_secs(), "{bar:40} {msg}", output)
}

fn visible_bar(length: u64, template: &str, output: &Output) -> ProgressBar {
    if output.json && io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    ProgressBar::new(length).with_style(style.with_key("rate", rate))
}

fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    let _ = write!(out, "{:.0}", state.per_sec());
}
