//! An inbox in a PostgreSQL database.

use router_core::testing::SyntheticEvent;
use router_inbox::{ClaimRequest, NewDelivery, NewEvent, PostgresStore, Store as _};
use tokio::runtime::Runtime;

use self::server::{PASSWORD, Server, unused_port};
use super::{MINUTE, made};
use crate::program::{Ran, run};

#[allow(dead_code, reason = "not every program needs all of it")]
#[path = "../../../../router-inbox/tests/support/postgres.rs"]
mod server;

/// Runs `event-router inbox` on it; no password is shown.
fn on(url: &str, arguments: &[&str]) -> Ran {
    let ran = run(&[&["inbox"], arguments, &["--inbox", url]].concat());
    assert!(!format!("{ran:?}").contains("7c1f"), "{ran:?}");
    ran
}

#[test]
fn an_inbox_in_postgresql_is_operated_as_one_in_a_file() {
    let Some(server) = Server::start() else { return };
    let url = server.url();
    // Nothing is made where there is none.
    for _ in 0..2 {
        let ran = on(&url, &["status"]);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        let said = ran.stderr.replace(&server.address(), "HOST");
        insta::allow_duplicates!(
            insta::assert_snapshot!(said, @"error: --inbox: the database postgres at HOST cannot be used as an inbox: it contains no inbox; the webhook server creates the tables, so check that both use the same URL")
        );
    }
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(PostgresStore::connect(&url)).unwrap();
    let deliveries = ["audit", "mail"]
        .map(|handler| NewDelivery { handler: handler.into(), ordered: handler == "mail" });
    for (id, deliveries) in [("evt_1", &deliveries[..]), ("evt_2", &deliveries), ("evt_none", &[])]
    {
        let event = made(SyntheticEvent::new("invoice.paid").id(id).set("id", "in_1"));
        let new = [NewEvent { event, deliveries: deliveries.to_vec() }];
        runtime.block_on(store.store(&new)).unwrap();
    }
    let wanted = ClaimRequest { handlers: vec![("audit".into(), 1)], limit: 1, lease: MINUTE };
    assert_eq!(runtime.block_on(store.claim(&wanted)).unwrap().len(), 1);
    let ran = on(&url, &["status", "--json"]);
    let status = &ran.json()[0];
    assert_eq!((&status["events"], &status["unhandled"]), (&3.into(), &1.into()), "{status}");
    assert_eq!(status["handlers"][1]["due"], 1, "one goes first: {status}");
    assert_eq!(on(&url, &["list", "--object", "in_1", "--json"]).json().len(), 4);
    let rows: [(&[&str], &str); 6] = [
        (&["discard", "evt_1", "--handler", "mail", "--yes"], "discarded"),
        (&["retry", "evt_1", "--handler", "mail"], "was discarded, not tried yet"),
        (&["replay", "evt_none", "--handler", "audit"], "replay 1, for audit"),
        (&["show", "evt_1"], "held for"),
        (
            &["list", "--state", "waiting", "--type", "invoice.*"],
            "behind an older event of its object",
        ),
        (&["purge", "--older-than", "30days", "--yes"], "0 events deleted"),
    ];
    for (arguments, told) in rows {
        let ran = on(&url, arguments);
        assert!(ran.code == Some(0) && ran.stdout.contains(told), "{ran:?}");
    }
}

#[test]
fn a_database_that_cannot_be_asked_is_told_with_the_way_out() {
    let Some(server) = Server::start() else { return };
    let (url, address) = (server.url(), server.address());
    let nowhere = format!("127.0.0.1:{}", unused_port());
    let rows = [
        (url.replace(&address, &nowhere), "the server cannot be reached; start it"),
        (url.replace("postgres:of", "postgres:not-of"), "authentication failed for user postgres"),
        (server.url_of("shop"), "the server has no such database"),
        (url.replace(PASSWORD, "/7c1f"), "invalid URL of the inbox; write postgres://user"),
        (url.replace("postgres://", "postgres:"), "invalid URL of the inbox"),
    ];
    for (url, told) in rows {
        let ran = on(&url, &["status"]);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        let is_told = ran.stderr.starts_with("error: --inbox: ") && ran.stderr.contains(told);
        assert!(is_told, "{told}: {ran:?}");
    }
}
