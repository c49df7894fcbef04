//! The progress bar of a long run.

use std::{
    fmt,
    io::{self, IsTerminal as _},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::output::Output;

/// Creates a progress bar on stderr.
///
/// The bar is hidden if stderr is not a terminal, or if JSON goes to the same terminal.
pub(crate) fn bar(total: usize, output: &Output) -> ProgressBar {
    if output.json && io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {rate}/s  {eta} left");
    let style = style.expect("the template is valid").with_key("rate", rate);
    ProgressBar::new(total as u64).with_style(style)
}

fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    let _ = write!(out, "{:.0}", state.per_sec());
}
