//! An inbox in NATS JetStream.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
};

use router_inbox::JetStreamStore;
use router_test_servers::nats::{PASSWORD, Server};
use tokio::runtime::Runtime;

use super::{COMMANDS, run_on};
use crate::program::{CliOutput, program};

#[test]
fn watch_fails_if_nats_server_stops() {
    let Some(mut server) = Server::start() else { return };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(JetStreamStore::connect(&server.url())).unwrap();
    let mut watch = program(&["inbox", "watch", "--every", "100ms", "--inbox", &server.url()]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(watch.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    server.stop();
    // `watch` runs until a request fails.
    stdout.read_to_string(&mut String::new()).unwrap();
    let output = CliOutput::from(watch.wait_with_output().unwrap());
    assert_eq!(output.code, Some(3), "{output:?}");
    let message = "error: cannot read the inbox from the NATS server; if this persists, check with";
    assert!(output.stderr.starts_with(message), "{output:?}");
}

#[test]
fn missing_stream_is_not_created() {
    let Some(server) = Server::start() else { return };
    for arguments in COMMANDS {
        let output = run_on(&server.url_of("shop"), arguments);
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        let message = output.stderr.replace(&server.address(), "HOST");
        insta::allow_duplicates!(
            insta::assert_snapshot!(message, @"error: --inbox: the NATS server HOST cannot be used as an inbox: it has no stream shop; the webhook server creates the stream, so use the same servers and the same inbox name, in a URL the part after the /")
        );
    }
}

#[test]
fn unusable_nats_server_names_the_fix() {
    let Some(mut server) = Server::start() else { return };
    let (url, address) = (server.url(), server.address());
    let invalid_url = |why: &str| format!("invalid URL of the inbox: {why}");
    let rows = [
        (
            url.replace(PASSWORD, "not-3e9a"),
            "authentication failed for user inbox; correct the user".into(),
        ),
        (format!("nats://{address}"), "the server requires authentication; add user:".into()),
        (url.replace("nats://", "tls://"), "cannot establish a trusted TLS connection".into()),
        (url.replace(PASSWORD, "/3e9a"), invalid_url("the user or the password contains a /")),
        (url.replace(PASSWORD, "@3e9a"), invalid_url("the password contains a : or an @")),
        (url.replace("nats://", "nats:"), invalid_url("it has no ://")),
        (format!("{url},{url}"), invalid_url("it contains nats:// more than once")),
        (url.replace(&address, ""), invalid_url("a host or a port is missing or invalid")),
        (
            format!("{url}?credential=x"),
            "unknown parameter `credential`; did you mean `credentials`?".into(),
        ),
        (format!("{url}/my shop"), invalid_url("the inbox's name must")),
    ];
    let runtime = Runtime::new().unwrap();
    runtime.block_on(JetStreamStore::connect(&url)).unwrap();
    for (url, expected) in rows {
        assert_rejected(&url, &expected);
    }
    let unknown_host = url.replace(&address, "no.such.host.invalid:4222");
    assert_error(3, &unknown_host, "there is no such host");
    server.stop();
    assert_error(3, &url, "the server cannot be reached; start it");
}

fn assert_rejected(url: &str, expected: &str) {
    assert_error(2, url, expected);
}

fn assert_error(code: i32, url: &str, expected: &str) {
    let output = run_on(url, &["status"]);
    assert_eq!((output.code, &*output.stdout), (Some(code), ""), "{output:?}");
    assert!(!output.stderr.contains("3e9a"), "a part of the password: {output:?}");
    assert!(output.stderr.starts_with("error: --inbox: "), "{output:?}");
    assert!(output.stderr.contains(expected), "{expected}: {output:?}");
}

#[test]
fn user_without_jetstream_names_the_fix() {
    // Replaces the server's default user.
    let lines = format!(
        "authorization {{}}
         accounts {{
             WITH: {{ jetstream: enabled, users: [{{ user: inbox, password: {PASSWORD} }}] }}
             WITHOUT: {{ users: [{{ user: other, password: {PASSWORD} }}] }}
         }}"
    );
    let Some(server) = Server::start_with(&lines, "") else { return };
    assert_rejected(&server.url(), "it has no stream stripe_inbox");
    let other = server.url().replace("inbox:", "other:");
    assert_rejected(
        &other,
        "JetStream is not enabled for this user; enable it with `jetstream {}`",
    );
}
