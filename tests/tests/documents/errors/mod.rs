//! Generates `docs/errors.md`: each message that a user can meet, with its cause and its remedy.
//!
//! `collect.rs` finds the messages in the code by the rules in `places.rs`. The text files in
//! this folder explain them, one file per section of the page. `UPDATE_DOCS=1` rewrites the page.

mod collect;
mod entries;
mod page;
mod places;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    collect::{Kind, Message},
    entries::Section,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn each_message_has_an_entry_and_each_entry_a_message() {
    let (messages, sections) = (collect::messages(), entries::sections());
    let mut entries = BTreeMap::new();
    for Section { file, entries: listed, .. } in &sections {
        for entry in listed {
            let other = entries.insert(&*entry.message, *file);
            assert!(other.is_none(), "{file} and {other:?} have an entry for: {}", entry.message);
        }
    }
    let mut problems = String::new();
    let mut found = BTreeSet::new();
    let (composed, messages): (Vec<_>, Vec<_>) =
        messages.iter().partition(|message| message.text.is_empty());
    let composed: BTreeSet<_> = composed.iter().map(|message| &*message.file).collect();
    assert_eq!(
        composed,
        places::COMPOSED_LOGS.into(),
        "these files log a text that is made in another place; check that places.rs has a rule for it, then correct \
         COMPOSED_LOGS there"
    );
    for Message { text, file, line, .. } in &messages {
        if found.insert(&**text) && !entries.contains_key(&**text) {
            problems += &format!(
                "\n{file}:{line}: this message has no entry:\n\n{text}\n  cause: <what has happened>\n  \
                 remedy: <what to do; leave the line out if the message says it>\n"
            );
        }
    }
    for (entry, file) in entries.iter().filter(|(entry, _)| !found.contains(**entry)) {
        problems +=
            &format!("\n{file}: no code has this message; change or remove it:\n\n{entry}\n");
    }
    let files = sections.map(|section| format!("  {}: {}", section.file, section.title)).join("\n");
    assert!(
        problems.is_empty(),
        "{problems}\nAdd each new entry to one of the files in tests/tests/documents/errors/:\n{files}\nThen run \
         UPDATE_DOCS=1 cargo test -p router-tests --test documents"
    );
    assert!(messages.len() > 450, "the rules find only {} messages", messages.len());
}

#[test]
fn errors_page_matches_the_entries() {
    let path = format!("{ROOT}/docs/errors.md");
    let generated = page::render(&entries::sections());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &generated).expect("docs/errors.md is writable");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == generated,
        "docs/errors.md differs from the entries; regenerate it and review the changes: \
         UPDATE_DOCS=1 cargo test -p router-tests --test documents"
    );
}

#[test]
fn collector_finds_each_kind_of_message_and_leaves_out_the_rest() {
    let code = r##"
        #[derive(thiserror::Error)]
        #[error("the file {0} is missing; create it")]
        struct Missing(String);

        #[diagnostic::on_unimplemented(message = "`{Self}` is not a store", note = "no message")]
        trait Store {}

        impl std::error::Error for Broken {}
        impl fmt::Display for Broken {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                write!(f, "the {{part}} {} is broken\nhelp: replace it", self.0)
            }
        }
        impl fmt::Display for Table {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result { f.write_str("only some data") }
        }

        fn log(error: &Error) {
            tracing::error!(%error, name = "a field of it", "failed to read the {}; retrying", 1);
            tokio::select! { () = wait => tracing::warn!("still waiting for it"), }
            tracing::info!("nothing has happened yet");
            telemetry::store_failed("failed to write it; retrying", error);
        }

        fn parse(text: &str) -> Result<u8, String> {
            let first = text.chars().next().expect("the text is not empty");
            Err(format!("expected a digit, but found {first:?}"))
        }

        /// Sets the size.
        ///
        /// # Panics
        ///
        /// Panics if it is zero.
        fn size(size: u8) {
            assert!(size > 0, "the size must be at least {}", 1);
        }

        fn usage() -> Error {
            Error::Usage("pass a file or - for input".into())
        }

        #[cfg(test)]
        mod tests {
            #[error("a message of a test")]
            struct Test;
        }
    "##;
    let messages = collect::messages_in(code, "sample.rs");
    let found: Vec<_> = messages.iter().map(|message| (message.kind, &*message.text)).collect();
    let expected = [
        (Kind::Text, "the file … is missing; create it"),
        (Kind::Text, "`…` is not a store"),
        (Kind::Text, "the {part} … is broken"),
        (Kind::LogError, "failed to read the …; retrying"),
        (Kind::LogWarning, "still waiting for it"),
        (Kind::Text, "failed to write it; retrying"),
        (Kind::Text, "expected a digit, but found …"),
        (Kind::Text, "the size must be at least …"),
        (Kind::Text, "pass a file or - for input"),
    ];
    assert_eq!(found, expected);
    assert_eq!(messages[0].line, 3);
}
