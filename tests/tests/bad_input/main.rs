//! What is sent by mistake or with bad intent, and the answer that it gets: each row is sent, and
//! together they are the table in `docs/bad-input.md`, which `UPDATE_DOCS=1` writes anew.

mod body;
mod connection;
mod endpoints;
mod envelope;
#[path = "../exchange/mod.rs"]
mod exchange;
mod json;
mod log;
mod object;
mod request;
mod row;
mod signature;
mod table;
mod thin;
mod wire;

use std::collections::BTreeSet;

use crate::row::Group;

/// In the order in which a request meets what is decided about it.
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
async fn each_input_gets_its_answer() {
    let mut wrong = String::new();
    for group in groups() {
        for row in group.rows {
            let answer = row.sent.answer().await;
            if answer != row.answer {
                wrong += &format!("\n{}: {}\n", row.name, row.input);
                wrong += &format!("  expected {:?}\n  answered {answer:?}\n", row.answer);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn no_two_rows_are_one() {
    let (mut names, mut inputs) = (BTreeSet::new(), BTreeSet::new());
    for row in groups().into_iter().flat_map(|group| group.rows) {
        assert!(names.insert(row.name), "two rows are named {}", row.name);
        assert!(inputs.insert(row.input), "two rows say: {}", row.input);
    }
    assert!(names.len() >= 45, "{} rows", names.len());
}

#[test]
fn the_table_in_the_docs_is_this_one() {
    let table = table::render(&groups());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(table::PATH, &table).unwrap();
    }
    let there = std::fs::read_to_string(table::PATH).unwrap_or_default();
    assert!(
        there == table,
        "docs/bad-input.md is not what these rows make; read what has changed, and write it anew: \
         UPDATE_DOCS=1 cargo test -p router-tests --test bad_input"
    );
}
