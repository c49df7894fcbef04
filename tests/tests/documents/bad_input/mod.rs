//! Sends malformed and hostile input to an endpoint or a server and checks each answer.
//!
//! `docs/bad-input.md` is generated from the same rows. `UPDATE_DOCS=1` rewrites the file.

mod body;
mod connection;
mod endpoints;
mod envelope;
mod json;
mod object;
mod request;
mod row;
mod signature;
mod table;
mod thin;
mod wire;

use std::collections::BTreeSet;

use self::row::Group;

/// Returns all groups, in the order in which a request passes the checks.
fn groups() -> [Group; 9] {
    [
        connection::group(),
        request::group(),
        signature::header(),
        signature::age(),
        body::group(),
        json::group(),
        envelope::group(),
        thin::group(),
        object::group(),
    ]
}

#[tokio::test]
async fn each_row_gets_its_expected_answer() {
    let mut failures = String::new();
    for group in groups() {
        for row in group.rows {
            let answer = row.input.send().await;
            if answer != row.expected {
                failures += &format!("\n{}: {}\n", row.name, row.description);
                failures += &format!("  expected {:?}\n  answered {answer:?}\n", row.expected);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn row_names_and_descriptions_are_unique() {
    let (mut names, mut descriptions) = (BTreeSet::new(), BTreeSet::new());
    for row in groups().into_iter().flat_map(|group| group.rows) {
        assert!(names.insert(row.name), "two rows have the name {}", row.name);
        let is_new = descriptions.insert(row.description);
        assert!(is_new, "two rows have the description {}", row.description);
    }
    assert!(names.len() >= 45, "{} rows", names.len());
}

#[test]
fn docs_match_the_rows() {
    let generated = table::render(&groups());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(table::PATH, &generated).unwrap();
    }
    let stored = std::fs::read_to_string(table::PATH).unwrap_or_default();
    assert!(
        stored == generated,
        "docs/bad-input.md differs from the rows; regenerate it and review the changes: \
         UPDATE_DOCS=1 cargo test -p router-tests --test documents"
    );
}
