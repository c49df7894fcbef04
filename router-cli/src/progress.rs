//! How far a long run is, for people who wait for it.

use std::{
    fmt,
    io::{self, IsTerminal as _},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::output::Output;

/// A bar on stderr, and nowhere if that is no terminal or the lines for a program are there too.
pub(crate) fn bar(total: usize, output: &Output) -> ProgressBar {
    if output.json && io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {rate} a second  {eta} left");
    let style = style.expect("it is a template").with_key("rate", rate);
    ProgressBar::new(total as u64).with_style(style)
}

fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    // If it cannot be written, there is nobody to be told.
    let _ = write!(out, "{:.0}", state.per_sec());
}
