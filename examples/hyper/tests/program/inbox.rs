//! The program with its inbox: what was answered is stored, and handled whatever becomes of the process.

use std::path::Path;

use router_core::SigningSecret;

use crate::running::{Running, payment, program_with, refused, send};

pub(crate) const SECRET: &str = "whsec_of_the_inbox";

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("inbox.db").display())
}

fn start(folder: &Path) -> Running {
    Running::start(program_with(&url(folder)).env("STRIPE_WEBHOOK_SECRET", SECRET))
}

#[test]
fn an_event_is_stored_and_then_handled_once_even_if_it_comes_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let request = payment(&SigningSecret::new(SECRET).unwrap());
    let server = start(folder.path());
    assert!(server.printed.contains("\nevents are stored in sqlite:"), "{}", server.printed);
    let answer = send(server.address(), &request);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let body = r#"{"event":"evt_1","outcome":"stored","handlers":[{"name":"payments.succeeded","outcome":"stored"}]}"#;
    assert!(answer.ends_with(body), "{answer}");
    let (status, log) = server.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("payment succeeded").count(), 1, "{log}");
    assert!(!log.contains("WARN"), "{log}");

    let server = start(folder.path());
    let answer = send(server.address(), &request);
    assert!(answer.contains(r#""outcome":"duplicate""#), "{answer}");
    let (_, log) = server.terminate();
    assert_eq!(log.matches("payment succeeded").count(), 0, "{log}");
}

#[test]
fn without_being_told_it_keeps_its_inbox_where_it_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program_with("");
    let server = Running::start(command.env_remove("EVENT_ROUTER_INBOX").current_dir(&folder));
    assert!(
        server.printed.contains("\nevents are stored in sqlite:inbox.db"),
        "{}",
        server.printed
    );
    assert!(folder.path().join("inbox.db").exists());
}

#[test]
fn what_is_no_inbox_is_refused_and_not_shown() {
    for url in ["mysql://shop:geheim@db/shop", "inbox.db", "sqlite:", ""] {
        let (code, said) = refused(&mut program_with(url));
        assert_eq!(code, Some(1), "{said}");
        contains(&said, "error: EVENT_ROUTER_INBOX or --inbox: write `sqlite:` and a file");
        assert!(!said.contains("geheim"), "{said}");
    }
}

#[test]
fn an_inbox_that_cannot_be_opened_is_named_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("sqlite:{}", folder.path().join("nowhere/inbox.db").display());
    let (code, said) = refused(&mut program_with(&nowhere));
    assert_eq!(code, Some(1), "{said}");
    contains(&said, &format!("error: {nowhere} cannot be opened as an inbox"));
    let text = folder.path().join("notes.txt");
    std::fs::write(
        &text,
        "This is no database, and long enough that nobody takes it for one.".repeat(9),
    )
    .unwrap();
    let (code, said) = refused(&mut program_with(&format!("sqlite:{}", text.display())));
    assert_eq!(code, Some(1), "{said}");
    contains(&said, "file is not a database");
}

fn contains(said: &str, wrong: &str) {
    assert!(said.contains(wrong), "{said}");
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let (code, said) = refused(&mut program_with("postgres://shop:geheim@127.0.0.1:1/shop"));
    assert_eq!(code, Some(1), "{said}");
    let told = "error: the database shop at 127.0.0.1:1 cannot be used as an inbox: the server cannot be reached";
    contains(&said, told);
    assert!(!said.contains("geheim"), "{said}");
}
