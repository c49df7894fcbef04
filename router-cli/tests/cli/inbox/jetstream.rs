//! An inbox in NATS JetStream.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
};

use router_core::{delivery::DeliveryOrder, testing::SyntheticEvent};
use router_inbox::{
    JetStreamStore, Store as _,
    store::{ClaimRequest, DeliveryOutcome, HandlerSlots, NewEvent},
};
use router_test_servers::nats::{PASSWORD, Server};
use tokio::runtime::Runtime;

use super::{MINUTE, build_event, new_delivery, watch::watch_at};
use crate::program::{CliOutput, program, run};

/// Runs `event-router inbox` with this URL, and asserts that the password is not printed.
fn run_on(url: &str, arguments: &[&str]) -> CliOutput {
    let output = run(&[&["inbox"], arguments, &["--inbox", url]].concat());
    assert!(!format!("{output:?}").contains("3e9a"), "{output:?}");
    output
}

#[test]
fn jetstream_inbox_supports_all_commands() {
    let Some(server) = Server::start() else { return };
    let url = server.url_of("shop");
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(JetStreamStore::connect(&url)).unwrap();
    let deliveries =
        [new_delivery("audit", None), new_delivery("mail", Some(DeliveryOrder::OldestFirst))];
    for (id, deliveries) in [("evt_1", &deliveries[..]), ("evt_2", &deliveries), ("evt_none", &[])]
    {
        let event = build_event(SyntheticEvent::new("invoice.paid").id(id).set("id", "in_1"));
        let new = [NewEvent::new(event, deliveries.to_vec())];
        runtime.block_on(store.store(&new)).unwrap();
    }
    let wanted = ClaimRequest::new(vec![HandlerSlots::new("audit", 2)], 2, MINUTE);
    let claims = runtime.block_on(store.claim(&wanted)).unwrap();
    let second = claims.iter().find(|claim| claim.event.as_ref().unwrap().id() == "evt_2");
    let dead = DeliveryOutcome::Dead { error: "the warehouse has burnt down".into() };
    let outcomes = [(second.unwrap().lease.clone(), dead)];
    runtime.block_on(store.complete(&outcomes)).unwrap();
    let output = run_on(&url, &["status", "--json"]);
    let status = &output.json()[0];
    assert_eq!((&status["events"], &status["unhandled"]), (&3.into(), &1.into()), "{status}");
    assert_eq!(status["handlers"][0]["running"]["number"], 1, "{status}");
    assert_eq!(status["handlers"][0]["dead"]["number"], 1, "{status}");
    assert_eq!(status["handlers"][1]["due"], 1, "the second delivery is blocked: {status}");
    let listed = run_on(&url, &["list", "--object", "in_1", "--json"]).json();
    assert_eq!(listed.len(), 4);
    let listed_number = listed[1]["number"].to_string();
    let rows: [(&[&str], &str); 10] = [
        (&["list", "--state", "waiting"], "blocked by an older event of its object"),
        (&["list", "--before", &listed_number], "evt_1"),
        (&["show", "evt_1"], "lease expires in"),
        (&["show", "evt_2"], "the warehouse has burnt down"),
        (&["show", "evt_1", "--payload"], "\"id\": \"evt_1\""),
        (&["retry", "evt_2", "--handler", "audit"], "was dead, after 1 attempt"),
        (&["discard", "evt_1", "--handler", "mail", "--yes"], "discarded"),
        (&["replay", "evt_none", "--handler", "audit"], "replay 1 for audit"),
        (&["replay", "--since", "1h", "--handler", "audit", "--yes"], "3 events replayed"),
        (&["purge", "--older-than", "30days", "--yes"], "0 events deleted"),
    ];
    for (arguments, expected) in rows {
        let output = run_on(&url, arguments);
        assert!(
            output.code == Some(0) && output.stdout.contains(expected),
            "{arguments:?}: {output:?}"
        );
    }
}

#[test]
fn watch_shows_new_events_in_jetstream() {
    let Some(server) = Server::start() else { return };
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(JetStreamStore::connect(&server.url())).unwrap();
    let event = build_event(SyntheticEvent::new("invoice.paid").id("evt_1"));
    let audit = new_delivery("audit", None);
    let new = [NewEvent::new(event, vec![audit])];
    let store_event = || drop(runtime.block_on(store.store(&new)).expect("the store works"));
    let (lines, code) = watch_at(&server.url(), &["--every", "100ms", "--json"], 3, store_event);
    assert_eq!(code, Some(0));
    assert!(lines[0].contains("\"events\":0"), "{lines:?}");
    assert!(lines[2].contains("\"events\":1"), "{lines:?}");
}

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
    let commands: [&[&str]; 8] = [
        &["status"],
        &["list"],
        &["show", "evt_1"],
        &["retry", "evt_1"],
        &["replay", "evt_1"],
        &["discard", "evt_1", "--yes"],
        &["purge", "--older-than", "30d", "--yes"],
        &["watch"],
    ];
    for arguments in commands {
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
