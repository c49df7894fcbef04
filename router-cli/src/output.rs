//! Output: data on stdout as text or JSON, everything else on stderr.
//!
//! Colors are used on terminals only, and `NO_COLOR` is respected.

use std::{
    fmt, io,
    io::{IsTerminal as _, Write as _},
};

use anstyle::{AnsiColor, Style};
use router_core::handler::is_unsafe_char;
use serde::Serialize;

use crate::error::Error;

/// The style of a success.
pub(crate) const SUCCESS: Style = AnsiColor::Green.on_default();
/// The style of a warning, and of a failure that may still turn into a success.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
/// The style of a failure.
pub(crate) const FAILURE: Style = AnsiColor::Red.on_default();
/// The style of secondary information.
pub(crate) const DIM: Style = Style::new().dimmed();

/// The output of a run.
pub(crate) struct Output {
    /// `true` if stdout gets JSON (`--json`).
    pub(crate) json: bool,
    stdout: anstream::AutoStream<io::Stdout>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, stdout: anstream::stdout() }
    }

    /// Writes a line of text to stdout.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Error> {
        Ok(writeln!(self.stdout, "{text}")?)
    }

    /// Writes a value to stdout as one line of JSON, in which unsafe characters are escaped.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let line = serde_json::to_string(value).map_err(io::Error::from)?;
        self.line(escape_unsafe(line))
    }

    /// Writes a message for the user to stderr. Failures are ignored.
    pub(crate) fn note(&mut self, text: impl fmt::Display) {
        drop(writeln!(anstream::stderr(), "{text}"));
    }

    pub(crate) fn error(&mut self, error: &Error) {
        self.note(format_args!("{FAILURE}error:{FAILURE:#} {error}"));
    }
}

/// Wraps text in the escape sequences of a style.
pub(crate) fn styled(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Replaces unsafe characters in untrusted text, except line breaks and tabs, so that the text
/// cannot send commands to the terminal.
pub(crate) fn sanitize(text: &str) -> String {
    let is_command = |c: char| is_unsafe_char(c) && !"\n\t".contains(c);
    text.replace(is_command, "\u{fffd}")
}

/// Escapes the unsafe characters of JSON, which only its texts have.
fn escape_unsafe(json: String) -> String {
    if !json.contains(is_unsafe_char) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len());
    for char in json.chars() {
        match is_unsafe_char(char) {
            // All are in the Basic Multilingual Plane.
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(char))),
            false => escaped.push(char),
        }
    }
    escaped
}

/// Quotes text as one word for a POSIX shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns whether a user can read a question and answer it.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_of_json_are_escaped() {
        let text = "evt_\u{9b}31m \u{202e} \u{7f} \u{1b} \u{e9}";
        let json = escape_unsafe(serde_json::json!(text).to_string());
        assert_eq!(json, r#""evt_\u009b31m \u202e \u007f \u001b é""#);
        assert_eq!(serde_json::from_str::<String>(&json).expect("it is JSON"), text);
    }
}
