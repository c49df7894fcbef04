//! An inbox in a PostgreSQL database.

use router_test_servers::{
    postgres::{PASSWORD, Server},
    unused_port,
};

use super::{COMMANDS, run_on};

#[test]
fn missing_inbox_is_not_created() {
    let Some(server) = Server::start() else { return };
    for arguments in COMMANDS {
        let output = run_on(&server.url(), arguments);
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        let message = output.stderr.replace(&server.address(), "HOST");
        insta::allow_duplicates!(
            insta::assert_snapshot!(message, @"error: --inbox: the database postgres at HOST cannot be used as an inbox: it contains no inbox; the webhook server creates the tables, so check that both use the same URL")
        );
    }
}

#[test]
fn unusable_database_names_the_fix() {
    let Some(server) = Server::start() else { return };
    let (url, address) = (server.url(), server.address());
    let nowhere = format!("127.0.0.1:{}", unused_port());
    let rows = [
        (3, url.replace(&address, &nowhere), "the server cannot be reached; start it"),
        (
            2,
            url.replace("postgres:of", "postgres:not-of"),
            "authentication failed for user postgres",
        ),
        (2, server.url_of("shop"), "the server has no such database"),
        (2, url.replace(PASSWORD, "/7c1f"), "invalid URL of the inbox; write postgres://user"),
        (2, url.replace("postgres://", "postgres:"), "invalid URL of the inbox"),
    ];
    for (code, url, expected) in rows {
        let output = run_on(&url, &["status"]);
        assert_eq!((output.code, &*output.stdout), (Some(code), ""), "{output:?}");
        assert!(!output.stderr.contains("7c1f"), "a part of the password: {output:?}");
        assert!(output.stderr.starts_with("error: --inbox: "), "{output:?}");
        assert!(output.stderr.contains(expected), "{expected}: {output:?}");
    }
}
