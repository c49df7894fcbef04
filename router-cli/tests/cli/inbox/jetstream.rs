//! An inbox in NATS JetStream.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
};

use router_core::testing::SyntheticEvent;
use router_inbox::{
    ClaimRequest, DeliveryOutcome, JetStreamStore, NewDelivery, NewEvent, Store as _,
};
use tokio::runtime::Runtime;

use self::server::{PASSWORD, Server};
use super::{MINUTE, made, watch::watch_at};
use crate::program::{Ran, program, run};

#[allow(dead_code, reason = "not every program needs all of it")]
#[path = "../../../../router-inbox/tests/support/nats.rs"]
mod server;

/// Runs `event-router inbox` on it; no password is shown.
fn on(url: &str, arguments: &[&str]) -> Ran {
    let ran = run(&[&["inbox"], arguments, &["--inbox", url]].concat());
    assert!(!format!("{ran:?}").contains("3e9a"), "{ran:?}");
    ran
}

#[test]
fn an_inbox_in_jetstream_is_operated_as_one_in_a_file() {
    let Some(server) = Server::start() else { return };
    let url = server.url_of("shop");
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(JetStreamStore::connect(&url)).unwrap();
    let deliveries = ["audit", "mail"]
        .map(|handler| NewDelivery { handler: handler.into(), ordered: handler == "mail" });
    for (id, deliveries) in [("evt_1", &deliveries[..]), ("evt_2", &deliveries), ("evt_none", &[])]
    {
        let event = made(SyntheticEvent::new("invoice.paid").id(id).set("id", "in_1"));
        let new = [NewEvent { event, deliveries: deliveries.to_vec() }];
        runtime.block_on(store.store(&new)).unwrap();
    }
    let wanted = ClaimRequest { handlers: vec![("audit".into(), 2)], limit: 2, lease: MINUTE };
    let claims = runtime.block_on(store.claim(&wanted)).unwrap();
    let of_second = claims.iter().find(|claim| claim.event.as_ref().unwrap().id() == "evt_2");
    let dead = DeliveryOutcome::Dead { error: "the warehouse has burnt down".into() };
    let ends = [(of_second.unwrap().lease.clone(), dead)];
    runtime.block_on(store.complete(&ends)).unwrap();
    let ran = on(&url, &["status", "--json"]);
    let status = &ran.json()[0];
    assert_eq!((&status["events"], &status["unhandled"]), (&3.into(), &1.into()), "{status}");
    assert_eq!(status["handlers"][0]["running"]["number"], 1, "{status}");
    assert_eq!(status["handlers"][0]["dead"]["number"], 1, "{status}");
    assert_eq!(status["handlers"][1]["due"], 1, "one goes first: {status}");
    let listed = on(&url, &["list", "--object", "in_1", "--json"]).json();
    assert_eq!(listed.len(), 4);
    let listed_number = listed[1]["number"].to_string();
    let rows: [(&[&str], &str); 10] = [
        (&["list", "--state", "waiting"], "behind an older event of its object"),
        (&["list", "--before", &listed_number], "evt_1"),
        (&["show", "evt_1"], "held for"),
        (&["show", "evt_2"], "the warehouse has burnt down"),
        (&["show", "evt_1", "--payload"], "\"id\": \"evt_1\""),
        (&["retry", "evt_2", "--handler", "audit"], "was dead, after 1 attempt"),
        (&["discard", "evt_1", "--handler", "mail", "--yes"], "discarded"),
        (&["replay", "evt_none", "--handler", "audit"], "replay 1, for audit"),
        (&["replay", "--since", "1h", "--handler", "audit", "--yes"], "3 events replayed"),
        (&["purge", "--older-than", "30days", "--yes"], "0 events deleted"),
    ];
    for (arguments, told) in rows {
        let ran = on(&url, arguments);
        assert!(ran.code == Some(0) && ran.stdout.contains(told), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn who_watches_an_inbox_in_jetstream_sees_what_comes() {
    let Some(server) = Server::start() else { return };
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(JetStreamStore::connect(&server.url())).unwrap();
    let event = made(SyntheticEvent::new("invoice.paid").id("evt_1"));
    let audit = NewDelivery { handler: "audit".into(), ordered: false };
    let new = [NewEvent { event, deliveries: vec![audit] }];
    let come = || drop(runtime.block_on(store.store(&new)).expect("it is there"));
    let (told, code) = watch_at(&server.url(), &["--every", "100ms", "--json"], 3, come);
    assert_eq!(code, Some(0));
    assert!(told[0].contains("\"events\":0"), "{told:?}");
    assert!(told[2].contains("\"events\":1"), "{told:?}");
}

#[test]
fn who_watches_an_inbox_whose_server_goes_away_is_told() {
    let Some(mut server) = Server::start() else { return };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(JetStreamStore::connect(&server.url())).unwrap();
    let mut watch = program(&["inbox", "watch", "--every", "100ms", "--inbox", &server.url()]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(watch.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    server.stop();
    // It goes on until it is told nothing any more.
    stdout.read_to_string(&mut String::new()).unwrap();
    let ran = Ran::from(watch.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let told = "error: cannot read the inbox from the NATS server; if this persists, check with";
    assert!(ran.stderr.starts_with(told), "{ran:?}");
}

/// And no command makes one.
#[test]
fn an_inbox_that_the_servers_do_not_have_is_not_made() {
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
        let ran = on(&server.url_of("shop"), arguments);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        let said = ran.stderr.replace(&server.address(), "HOST");
        insta::allow_duplicates!(
            insta::assert_snapshot!(said, @"error: --inbox: the NATS server HOST cannot be used as an inbox: it has no stream shop; the webhook server creates the stream, so check that both use the same URL, with the same name after the /")
        );
    }
}

#[test]
fn servers_that_cannot_be_asked_are_told_with_the_way_out() {
    let Some(mut server) = Server::start() else { return };
    let (url, address) = (server.url(), server.address());
    let unread = |why: &str| format!("invalid URL of the inbox: {why}");
    let rows = [
        (
            url.replace(PASSWORD, "not-3e9a"),
            "authentication failed for user inbox; correct the user".into(),
        ),
        (format!("nats://{address}"), "the server requires authentication; add user:".into()),
        (url.replace("nats://", "tls://"), "cannot establish a trusted TLS connection".into()),
        (url.replace(&address, "no.such.host.invalid:4222"), "there is no such host".into()),
        (format!("{url}?replicas=3"), "num_replicas: 1, must be 3\nchange it with".into()),
        (url.replace(PASSWORD, "/3e9a"), unread("the user or the password contains a /")),
        (url.replace(PASSWORD, "@3e9a"), unread("the password contains a : or an @")),
        (url.replace("nats://", "nats:"), unread("it has no ://")),
        (format!("{url},{url}"), unread("it contains nats:// more than once")),
        (url.replace(&address, ""), unread("a host or a port is missing or invalid")),
        (
            format!("{url}?replica=3"),
            unread("unknown parameter; after the ? it accepts replicas=3, credentials="),
        ),
        (format!("{url}/my shop"), unread("the inbox's name, after the /, must")),
    ];
    let runtime = Runtime::new().unwrap();
    runtime.block_on(JetStreamStore::connect(&url)).unwrap();
    for (url, told) in rows {
        refused(&url, &told);
    }
    server.stop();
    refused(&url, "the server cannot be reached; start it");
}

fn refused(url: &str, told: &str) {
    let ran = on(url, &["status"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
    let is_told = ran.stderr.starts_with("error: --inbox: ") && ran.stderr.contains(told);
    assert!(is_told, "{told}: {ran:?}");
}

#[test]
fn a_user_without_jetstream_is_told_to_switch_it_on() {
    // In place of the one user of all.
    let lines = format!(
        "authorization {{}}
         accounts {{
             WITH: {{ jetstream: enabled, users: [{{ user: inbox, password: {PASSWORD} }}] }}
             WITHOUT: {{ users: [{{ user: other, password: {PASSWORD} }}] }}
         }}"
    );
    let Some(server) = Server::start_with(&lines, "") else { return };
    refused(&server.url(), "it has no stream stripe_inbox");
    let other = server.url().replace("inbox:", "other:");
    refused(&other, "JetStream is not enabled for this user; enable it with `jetstream {}`");
}
