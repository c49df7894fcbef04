//! Makes text of unknown origin safe to log and to store.

/// The maximum length of a text, in bytes before characters are escaped.
const MAX_TEXT_BYTES: usize = 1024;

/// Returns the text in one line without control characters, and at most 1,024 bytes of it.
///
/// A line break in an error's text could forge a log line, and an escape sequence could control the
/// operator's terminal. Control characters and those that change the direction of the text are
/// escaped as in a Rust string, such as `\n` and `\u{1b}`. The rest of a longer text is replaced by
/// its length.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut ends = (0..=text.len().min(MAX_TEXT_BYTES)).rev();
    let end = ends.find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let shown = &text[..end];
    let mut line = String::with_capacity(shown.len());
    for char in shown.chars() {
        match is_unsafe_char(char) {
            true => line.extend(char.escape_default()),
            false => line.push(char),
        }
    }
    let rest = text.len() - shown.len();
    if rest > 0 {
        line += &format!("… ({rest} more bytes)");
    }
    line
}

/// Returns whether a character controls the terminal or the direction of the text, or ends a line.
#[must_use]
pub fn is_unsafe_char(char: char) -> bool {
    let is_bidi = matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    char.is_control() || is_bidi || matches!(char, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_are_escaped() {
        let text = "\n2026-01-31 ERROR forged\u{1b}[2J\u{9b}1m\u{202e}\u{2066}\r\t\u{2028}é";
        let expected = r"\n2026-01-31 ERROR forged\u{1b}[2J\u{9b}1m\u{202e}\u{2066}\r\t\u{2028}é";
        assert_eq!(one_line(text), expected);
        assert_eq!(one_line(r#"a "quoted" \ text"#), r#"a "quoted" \ text"#);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = format!("{}é{}", "a".repeat(MAX_TEXT_BYTES - 1), "b".repeat(10));
        assert_eq!(one_line(&text), format!("{}… (12 more bytes)", "a".repeat(MAX_TEXT_BYTES - 1)));
        assert_eq!(one_line(&"a".repeat(MAX_TEXT_BYTES)).len(), MAX_TEXT_BYTES);
    }
}
