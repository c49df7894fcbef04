//! The entries of the page, in one text file per section:
//!
//! ```text
//! the message, with … for each value
//!   cause: what has happened
//!   remedy: what to do; this line is absent if the message says it
//! ```
//!
//! A line that is indented by four spaces continues the one before.

/// An explained message.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: String,
    pub(crate) cause: String,
    /// `None` if the message says it.
    pub(crate) remedy: Option<String>,
}

/// A section of the page.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) introduction: &'static str,
    /// The name of the file with the entries.
    pub(crate) file: &'static str,
    pub(crate) entries: Vec<Entry>,
}

/// Returns the sections, in the order of the page.
pub(crate) fn sections() -> [Section; 6] {
    [
        section(
            "When compiling",
            "Errors of rustc at `#[on_event]`, `#[on_unhandled]` and `#[derive(StripeObject)]`.",
            ("compile.txt", include_str!("compile.txt")),
        ),
        section(
            "When the program starts",
            "Errors of `build()`, of signing secrets and API keys, and of opening an inbox. `build()` shows\n\
             all problems at once.",
            ("start.txt", include_str!("start.txt")),
        ),
        section(
            "Answers to Stripe",
            "The body of a refused request, which Stripe's dashboard shows, and the field `reason` of the log\n\
             line \"request refused\", which has more detail. After a status other than 2xx Stripe redelivers\n\
             the event for up to three days, so no event is lost if the cause is removed in time.\n\
             [bad-input.md](bad-input.md) has an example of each refusal.",
            ("endpoint.txt", include_str!("endpoint.txt")),
        ),
        section(
            "Log lines",
            "After a WARN the program continues by itself. An ERROR means that an event or an operation\n\
             needs attention. A failed operation on the store is logged as WARN, or as ERROR with\n\
             the field `advice` if a retry does not help. Warnings of `build()` are logged at the start.",
            ("log.txt", include_str!("log.txt")),
        ),
        section(
            "Failures of events and services",
            "Texts in the fields `error` and `reason` of log lines, in the history of a delivery\n\
             (`event-router inbox show`), in the answer of `/readyz`, and in errors that a function returns.\n\
             Several texts are joined by colons, from the operation to its cause; look up each.",
            ("failures.txt", include_str!("failures.txt")),
        ),
        section(
            "The command `event-router`",
            "The text after `error:` on standard error. `verify` and `doctor` explain their findings\n\
             themselves; [doctor.md](doctor.md) lists those of `doctor`. An error in opening an inbox is under\n\
             \"When the program starts\".",
            ("command.txt", include_str!("command.txt")),
        ),
    ]
}

fn section(
    title: &'static str,
    introduction: &'static str,
    (file, text): (&'static str, &'static str),
) -> Section {
    let joined = text.replace("\n    ", " ");
    let blocks = joined.split("\n\n").filter(|block| !block.trim().is_empty());
    let entries: Vec<_> = blocks.map(|block| parse(file, block.trim_end())).collect();
    let messages: Vec<_> = entries.iter().map(|entry| sort_key(&entry.message)).collect();
    if let Some(pair) = messages.windows(2).find(|pair| pair[0] > pair[1]) {
        panic!(
            "{file}: the entries are not sorted: {:?} belongs in front of {:?}",
            pair[1], pair[0]
        );
    }
    Section { title, introduction, file, entries }
}

fn parse(file: &str, block: &str) -> Entry {
    let mut lines = block.lines();
    let message = lines.next().unwrap_or_default().to_owned();
    let cause = lines.next().and_then(|line| line.strip_prefix("  cause: "));
    let Some(cause) = cause.filter(|cause| is_sentence(cause)) else {
        panic!("{file}: a line `  cause: …` with a sentence must follow the message: {message}");
    };
    let remedy = lines.next().map(|line| {
        let remedy = line.strip_prefix("  remedy: ").filter(|remedy| is_sentence(remedy));
        remedy.unwrap_or_else(|| {
            panic!("{file}: the second line must be `  remedy: …` with a sentence: {message}")
        })
    });
    assert!(lines.next().is_none(), "{file}: an entry has at most a cause and a remedy: {message}");
    Entry { message, cause: cause.to_owned(), remedy: remedy.map(str::to_owned) }
}

fn is_sentence(text: &str) -> bool {
    text.ends_with('.')
}

/// Returns the text without the punctuation and the values in front of its first word.
pub(crate) fn sort_key(message: &str) -> String {
    message.trim_start_matches(|char: char| !char.is_ascii_alphanumeric()).to_ascii_lowercase()
}
