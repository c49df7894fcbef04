//! What is printed: data on stdout, in words or as JSON; what else there is to say on stderr. Colours
//! are for terminals, and `NO_COLOR` is heeded.

use std::{
    fmt, io,
    io::{IsTerminal as _, Write as _},
};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::error::Error;

/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What did not, and may yet.
pub(crate) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
/// What did not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// What matters less.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Where a run prints.
pub(crate) struct Output {
    /// Whether stdout is for programs: `--json`.
    pub(crate) json: bool,
    stdout: anstream::AutoStream<io::Stdout>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, stdout: anstream::stdout() }
    }

    /// A line of data, in words.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Error> {
        Ok(writeln!(self.stdout, "{text}")?)
    }

    /// A line of data, as JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let line = serde_json::to_string(value).map_err(io::Error::from)?;
        self.line(line)
    }

    /// What a person wants to know and a program does not.
    pub(crate) fn note(&mut self, text: impl fmt::Display) {
        // Nobody is left to be told that stderr is gone.
        drop(writeln!(anstream::stderr(), "{text}"));
    }

    pub(crate) fn error(&mut self, error: &Error) {
        self.note(format_args!("{BAD}error:{BAD:#} {error}"));
    }
}

/// Text in a style.
pub(crate) fn styled(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Somebody else's text, without what would make a terminal do something.
pub(crate) fn plain(text: &str) -> String {
    let is_command = |c: char| c.is_control() && !"\n\t".contains(c);
    text.replace(is_command, "\u{fffd}")
}

/// Whether somebody can be asked, and answer.
pub(crate) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}
