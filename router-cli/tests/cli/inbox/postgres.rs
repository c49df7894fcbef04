//! An inbox in a PostgreSQL database.

use router_core::{delivery::DeliveryOrder, testing::SyntheticEvent};
use router_inbox::{
    PostgresStore, Store as _,
    store::{ClaimRequest, HandlerSlots, NewEvent},
};
use router_test_servers::{
    postgres::{PASSWORD, Server},
    unused_port,
};
use tokio::runtime::Runtime;

use super::{MINUTE, build_event, new_delivery};
use crate::program::{CliOutput, run};

/// Runs `event-router inbox` with this URL, and asserts that the password is not printed.
fn run_on(url: &str, arguments: &[&str]) -> CliOutput {
    let output = run(&[&["inbox"], arguments, &["--inbox", url]].concat());
    assert!(!format!("{output:?}").contains("7c1f"), "{output:?}");
    output
}

#[test]
fn postgres_inbox_supports_all_commands() {
    let Some(server) = Server::start() else { return };
    let url = server.url();
    // A missing inbox is not created.
    for _ in 0..2 {
        let output = run_on(&url, &["status"]);
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        let message = output.stderr.replace(&server.address(), "HOST");
        insta::allow_duplicates!(
            insta::assert_snapshot!(message, @"error: --inbox: the database postgres at HOST cannot be used as an inbox: it contains no inbox; the webhook server creates the tables, so check that both use the same URL")
        );
    }
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(PostgresStore::connect(&url)).unwrap();
    let deliveries =
        [new_delivery("audit", None), new_delivery("mail", Some(DeliveryOrder::OldestFirst))];
    for (id, deliveries) in [("evt_1", &deliveries[..]), ("evt_2", &deliveries), ("evt_none", &[])]
    {
        let event = build_event(SyntheticEvent::new("invoice.paid").id(id).set("id", "in_1"));
        let new = [NewEvent::new(event, deliveries.to_vec())];
        runtime.block_on(store.store(&new)).unwrap();
    }
    let wanted = ClaimRequest::new(vec![HandlerSlots::new("audit", 1)], 1, MINUTE);
    assert_eq!(runtime.block_on(store.claim(&wanted)).unwrap().len(), 1);
    let output = run_on(&url, &["status", "--json"]);
    let status = &output.json()[0];
    assert_eq!((&status["events"], &status["unhandled"]), (&3.into(), &1.into()), "{status}");
    assert_eq!(status["handlers"][1]["due"], 1, "the second delivery is blocked: {status}");
    assert_eq!(run_on(&url, &["list", "--object", "in_1", "--json"]).json().len(), 4);
    let rows: [(&[&str], &str); 6] = [
        (&["discard", "evt_1", "--handler", "mail", "--yes"], "discarded"),
        (&["retry", "evt_1", "--handler", "mail"], "was discarded, not attempted yet"),
        (&["replay", "evt_none", "--handler", "audit"], "replay 1 for audit"),
        (&["show", "evt_1"], "lease expires in"),
        (
            &["list", "--state", "waiting", "--type", "invoice.*"],
            "blocked by an older event of its object",
        ),
        (&["purge", "--older-than", "30days", "--yes"], "0 events deleted"),
    ];
    for (arguments, expected) in rows {
        let output = run_on(&url, arguments);
        assert!(output.code == Some(0) && output.stdout.contains(expected), "{output:?}");
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
        assert!(output.stderr.starts_with("error: --inbox: "), "{output:?}");
        assert!(output.stderr.contains(expected), "{expected}: {output:?}");
    }
}
