//! Generates `docs/errors.md`: each message that a user can meet, with its cause and its remedy.
//!
//! `collect.rs` finds the messages in the code by the rules in `places.rs`. The text files beside
//! this module explain them, one file per section of the page. `UPDATE_DOCS=1` rewrites the page.

mod collect;
mod entries;
mod page;
mod places;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use self::{collect::Message, entries::Section};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn each_message_has_an_entry_and_each_entry_a_message() {
    let (messages, sections) = (collect::messages(Path::new(ROOT)), entries::sections());
    let mut entries = BTreeMap::new();
    for Section { file, entries: listed, .. } in &sections {
        for entry in listed {
            let other = entries.insert(&*entry.message, *file);
            assert!(other.is_none(), "{file} and {other:?} have an entry for: {}", entry.message);
        }
    }
    let mut problems = String::new();
    let mut found = BTreeSet::new();
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
    let generated = page::render(Path::new(ROOT), &entries::sections());
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
