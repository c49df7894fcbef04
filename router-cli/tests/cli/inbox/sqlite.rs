//! An inbox in a SQLite file.

use std::os::unix::fs::FileExt as _;

use router_inbox::sqlx::{SqlitePool, query};

use super::{
    COMMANDS, MINUTE, TestInbox,
    engine::{Engine as _, Sqlite},
    run_on,
};
use crate::program::{CliOutput, program};

#[test]
fn missing_file_is_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let url = format!("sqlite:{}", path.display());
    let redacted_error = |output: &CliOutput| output.stderr.replace(&url, "sqlite:inbox.db");
    for arguments in COMMANDS {
        let output = run_on(&url, arguments);
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        insta::allow_duplicates!(
            insta::assert_snapshot!(redacted_error(&output), @"error: sqlite:inbox.db does not exist; the webhook server creates the inbox's file; pass the inbox as `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX")
        );
    }
    assert!(!path.exists());
    // The URL can come from the environment. Its default is the server's default.
    let output = CliOutput::from(
        program(&["inbox", "status"]).env("EVENT_ROUTER_INBOX", &url).output().unwrap(),
    );
    assert_eq!(
        redacted_error(&output).matches("sqlite:inbox.db does not exist").count(),
        1,
        "{output:?}"
    );
    let mut without = program(&["inbox", "status"]);
    let output = CliOutput::from(without.current_dir(&folder).output().unwrap());
    assert!(output.stderr.contains("sqlite:inbox.db does not exist"), "{output:?}");
}

#[test]
fn invalid_inbox_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let url = format!("sqlite:{}", path.display());
    let error = |inbox: &str| {
        let output = run_on(inbox, &["status"]);
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        output.stderr.replace(&url, "URL")
    };
    std::fs::write(&path, "dear diary\n".repeat(500)).unwrap();
    insta::assert_snapshot!(error(&url), @"error: URL cannot be opened as an inbox: error returned from database: (code: 26) file is not a database; pass the inbox as `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX");
    std::fs::write(&path, "").unwrap();
    insta::assert_snapshot!(error(&url), @"error: URL is a database that contains no inbox; pass the inbox as `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX");
    insta::assert_snapshot!(error("inbox.db"), @"error: --inbox: expected `sqlite:FILE`, as in `sqlite:inbox.db`; `postgres://user:password@host:5432/database` for PostgreSQL; or `nats://user:password@host:4222` for NATS JetStream");
    let unknown_scheme = error("mysql://me:pa55word@127.0.0.1/shop");
    assert!(unknown_scheme.starts_with("error: --inbox: "), "{unknown_scheme}");
    assert!(!unknown_scheme.contains("pa55word"), "{unknown_scheme}");
    let mut help = program(&["inbox", "--help"]);
    let help = CliOutput::from(
        help.env("EVENT_ROUTER_INBOX", "postgres://me:pa55word@host/shop").output().unwrap(),
    );
    assert!(
        help.stdout.contains("EVENT_ROUTER_INBOX") && !help.stdout.contains("pa55word"),
        "{help:?}"
    );
}

#[test]
fn damaged_inbox_is_reported_as_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    // The header of a database, and a first page without a type.
    let mut file = b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20".to_vec();
    file.resize(4096, 0);
    (file[47], file[59]) = (4, 1);
    std::fs::write(&path, file).unwrap();
    let url = format!("sqlite:{}", path.display());
    let output = run_on(&url, &["status"]);
    assert_eq!((output.code, &*output.stdout), (Some(1), ""), "{output:?}");
    insta::assert_snapshot!(output.stderr.replace(&url, "URL"), @"error: URL cannot be opened as an inbox: error returned from database: (code: 11) database disk image is malformed");
}

#[test]
fn damaged_file_is_reported() {
    let inbox = TestInbox::empty(Sqlite::new(), MINUTE);
    inbox.store_many(500, "audit");
    // Empties the write-ahead log, from which the damaged pages would otherwise be read.
    inbox.runtime.block_on(async {
        let database = SqlitePool::connect(&inbox.engine.url()).await.unwrap();
        query("pragma wal_checkpoint(truncate)").execute(&database).await.unwrap();
    });
    let path = inbox.engine.folder.path().join("inbox.db");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.write_all_at(&vec![0xff; (length / 2) as usize], length / 2).unwrap();
    let output = inbox.run(&["list"]);
    assert_eq!((output.code, &*output.stdout), (Some(1), ""), "{output:?}");
    assert!(output.stderr.contains("database disk image is malformed"), "{output:?}");
}
