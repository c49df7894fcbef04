//! The program with a SQLite inbox.

use std::path::Path;

use router_core::SigningSecret;

use crate::running::{Running, payment, program_with, refused, send};

pub(crate) const SECRET: &str = "whsec_of_the_inbox";

pub(crate) fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("inbox.db").display())
}

fn start(folder: &Path) -> Running {
    Running::start(program_with(&url(folder)).env("STRIPE_WEBHOOK_SECRET", SECRET))
}

#[test]
fn event_is_handled_once_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let request = payment(&SigningSecret::new(SECRET).unwrap());
    let server = start(folder.path());
    assert!(server.printed.contains("\nevents are stored in sqlite:"), "{}", server.printed);
    let answer = send(server.address(), &request);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let body = r#"{"event":"evt_1","outcome":"stored","handlers":[{"name":"mirror.record","outcome":"stored"},{"name":"payments.succeeded","outcome":"stored"}]}"#;
    assert!(answer.ends_with(body), "{answer}");
    let (status, log) = server.terminate_after("payment succeeded");
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
fn default_inbox_and_outbox_are_in_working_directory() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program_with("");
    let command = command.env_remove("EVENT_ROUTER_INBOX").env_remove("OUTBOX");
    let server = Running::start(command.current_dir(&folder));
    assert!(
        server.printed.contains("\nevents are stored in sqlite:inbox.db"),
        "{}",
        server.printed
    );
    assert!(server.printed.contains("\nmails go to the folder outbox\n"), "{}", server.printed);
    assert!(folder.path().join("inbox.db").exists() && folder.path().join("outbox").is_dir());
}

#[test]
fn invalid_inbox_url_is_rejected_and_not_printed() {
    for url in ["mysql://shop:geheim@db/shop", "inbox.db", "sqlite:", ""] {
        let (code, stderr) = refused(&mut program_with(url));
        assert_eq!(code, Some(1), "{stderr}");
        assert_contains(&stderr, "error: EVENT_ROUTER_INBOX or --inbox: expected a SQLite file");
        assert!(!stderr.contains("geheim"), "{stderr}");
    }
}

#[test]
fn unopenable_inbox_error_names_file_and_cause() {
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("sqlite:{}", folder.path().join("missing/inbox.db").display());
    let (code, stderr) = refused(&mut program_with(&missing));
    assert_eq!(code, Some(1), "{stderr}");
    assert_contains(&stderr, &format!("error: {missing} cannot be opened as an inbox"));
    let text = folder.path().join("notes.txt");
    std::fs::write(
        &text,
        "This is not a database, and it is longer than a database header.".repeat(9),
    )
    .unwrap();
    let (code, stderr) = refused(&mut program_with(&format!("sqlite:{}", text.display())));
    assert_eq!(code, Some(1), "{stderr}");
    assert_contains(&stderr, "file is not a database");
}

fn assert_contains(stderr: &str, text: &str) {
    assert!(stderr.contains(text), "{stderr}");
}

#[test]
fn unreachable_database_error_hides_password() {
    let (code, stderr) = refused(&mut program_with("postgres://shop:geheim@127.0.0.1:1/shop"));
    assert_eq!(code, Some(1), "{stderr}");
    let error = "error: the database shop at 127.0.0.1:1 cannot be used as an inbox: the server cannot be reached";
    assert_contains(&stderr, error);
    assert!(!stderr.contains("geheim"), "{stderr}");
}
