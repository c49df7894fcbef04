//! The chain of an error's causes.

use std::{
    error::Error,
    fmt::{self, Write as _},
    io,
    iter::from_fn,
};

use super::one_line;
use crate::panic_guard::catch;

/// An error and the chain of its causes.
///
/// `Display` writes all texts, separated by colons, in [`one_line`]. An empty text is left out, and
/// so is a cause whose words are part of the text before it, because many errors repeat the text of
/// their cause. If the `Display` or `source` of an error panics, the line ends with the panic's
/// message.
///
/// ```
/// use std::{error::Error, fmt, io};
///
/// use router_core::handler::ErrorChain;
///
/// #[derive(Debug)]
/// struct NotShipped(io::Error);
///
/// impl fmt::Display for NotShipped {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         f.write_str("failed to ship")
///     }
/// }
///
/// impl Error for NotShipped {
///     fn source(&self) -> Option<&(dyn Error + 'static)> {
///         Some(&self.0)
///     }
/// }
///
/// let error = NotShipped(io::Error::other("the printer\nis on fire"));
/// let chain = ErrorChain::new(&error);
/// assert_eq!(chain.to_string(), r"failed to ship: the printer\nis on fire");
/// assert!(chain.errors().any(<dyn Error>::is::<io::Error>));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ErrorChain<'e>(&'e (dyn Error + 'static));

impl<'e> ErrorChain<'e> {
    /// Creates the chain that begins with this error.
    #[must_use]
    pub fn new(error: &'e (dyn Error + 'static)) -> Self {
        Self(error)
    }

    /// Returns an iterator over the error, its cause, the cause of that, and so on.
    pub fn errors(self) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
        let mut last = None;
        // Unlike `successors`, this returns an error before it asks for the cause, which may panic.
        from_fn(move || {
            let next = last.map_or(Some(self.0), cause)?;
            last = Some(next);
            Some(next)
        })
    }

    /// Returns all texts with their line breaks, neither escaped nor cut, for a program that prints
    /// errors of its own.
    #[must_use]
    pub fn text(self) -> String {
        let mut texts: Vec<String> = Vec::new();
        let written = catch("its `Display` or `source`", || {
            for (index, error) in self.errors().enumerate() {
                texts.push(String::new());
                // A `Display` that fails or panics has written what it could.
                write!(texts[index], "{error}")?;
            }
            fmt::Result::Ok(())
        });
        let mut text = String::new();
        for part in texts.iter().map(|part| part.trim_start()) {
            if !part.is_empty() && !contains_words(&text, part) {
                let separator = if text.is_empty() { "" } else { ": " };
                text.extend([separator, part]);
            }
        }
        if let Err(panic) = written {
            let separator = if text.is_empty() { "" } else { " " };
            text += &format!("{separator}(the text of the error is incomplete: {panic})");
        }
        text
    }
}

/// Returns whether the text contains these words, and not only as a part of other words.
fn contains_words(text: &str, words: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(words).any(|(start, _)| {
        let (before, after) = (&text[..start], &text[start + words.len()..]);
        !is_word(before.chars().next_back()) && !is_word(after.chars().next())
    })
}

fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    // `io::Error::source` skips the error that it wraps.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|wrapped| wrapped as _).or_else(|| error.source())
}

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    fn chain(texts: &[&'static str]) -> Link {
        let (text, rest) = texts.split_first().expect("a chain has an error");
        Link { text, source: (!rest.is_empty()).then(|| Box::new(chain(rest))) }
    }

    #[test]
    fn empty_or_repeated_text_is_left_out() {
        for (texts, line) in [
            (&["no order"][..], "no order"),
            (&["no order", "no row\n", ""], r"no order: no row\n"),
            (&["cannot extract it", "no"], "cannot extract it: no"),
            (&["", "no order", "", "  ", "no row"], "no order: no row"),
            (&[" no order", "\n no row"], "no order: no row"),
            (&["", " "], ""),
            (
                &["query failed: no row", "no row", "end of file"],
                "query failed: no row: end of file",
            ),
        ] {
            assert_eq!(ErrorChain::new(&chain(texts)).to_string(), line);
        }
    }

    #[test]
    fn error_in_io_error_is_part_of_chain() {
        let error = io::Error::other(chain(&["no route", "cable cut"]));
        assert_eq!(ErrorChain::new(&error).to_string(), "no route: cable cut");
        assert!(ErrorChain::new(&error).errors().any(<dyn Error>::is::<Link>));
    }

    #[test]
    fn panic_of_display_ends_line() {
        #[derive(Debug)]
        struct Bomb;
        impl fmt::Display for Bomb {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("out of words")
            }
        }
        impl Error for Bomb {}
        #[derive(Debug, thiserror::Error)]
        #[error("no order")]
        struct Wrapper(#[source] Bomb);
        let note = "(the text of the error is incomplete: its `Display` or `source` panicked: out of words)";
        assert_eq!(ErrorChain::new(&io::Error::other(Bomb)).to_string(), note);
        let wrapped = Wrapper(Bomb);
        assert_eq!(ErrorChain::new(&wrapped).to_string(), format!("no order {note}"));
    }
}
