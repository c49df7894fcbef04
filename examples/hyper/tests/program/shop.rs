//! The shop's tables, mails and page, with each kind of inbox.

use std::{fs, path::Path, str::FromStr as _, time::Duration};

use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
    testing::SyntheticEvent,
};
use router_inbox::sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqliteConnection, query,
    sqlite::SqliteConnectOptions,
};
use router_test_servers::{nats, postgres, unused_name};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    inbox::{SECRET, url},
    running::{Running, exchange, program, program_with, refused, send, signed},
};

/// Starts the program with the outbox in the folder.
fn start(inbox: &str, folder: &Path) -> Running {
    let mut command = program_with(inbox);
    command.env("STRIPE_WEBHOOK_SECRET", SECRET).env("OUTBOX", folder.join("outbox"));
    Running::start(&mut command)
}

/// Sends events of an order, a refund, a subscription and a dispute.
fn send_events(server: &Running) {
    let secret = SigningSecret::new(SECRET).expect("secret is valid");
    let payment = "pi_of_the_order";
    for event in [
        SyntheticEvent::new("checkout.session.completed")
            .set("client_reference_id", "<script>alert(1)</script>")
            .set("payment_intent", payment)
            .set("amount_total", 2000)
            .set("currency", "usd"),
        SyntheticEvent::new("charge.succeeded")
            .set("payment_intent", payment)
            .set("amount_captured", 2000)
            .set("metadata", json!({"order_id": "6735"}))
            .set("billing_details.email", "jenny@example.com"),
        SyntheticEvent::new("refund.created")
            .set("payment_intent", payment)
            .set("amount", 500)
            .set("status", "succeeded"),
        SyntheticEvent::new("customer.subscription.updated").set("status", "past_due"),
        SyntheticEvent::new("charge.dispute.created")
            .set("amount", 2000)
            .set("currency", "jpy")
            .set("status", "needs_response"),
    ] {
        let answer = send(server.address(), &signed(event, &secret));
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
}

/// The texts of the rows that the events lead to.
const ROWS: [&str; 8] = [
    "<td>&#60;script&#62;alert(1)&#60;/script&#62;<td>",
    "<td class=\"number\">USD 20.00<td class=\"number\">USD 5.00<td>",
    "<span class=\"tag paid\">paid</span>",
    "<span class=\"tag past_due\">past_due</span>",
    "<td class=\"number\">JPY 2000<td>",
    "<span class=\"tag needs_response\">needs_response</span>",
    "<p>1 sent to the folder ",
    "charge 1 · checkout.session 1 · dispute 1 · refund 1 · subscription 1\n",
];

/// Requests the page with this host.
fn get(address: &str, host: &str) -> String {
    let request = format!("GET /shop HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    send(address, &request)
}

fn page(server: &Running) -> String {
    let response = get(server.internal_address(), server.internal_address());
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    response
}

/// Polls the page until it has all rows, because a worker handles the events.
async fn page_with_rows(server: &Running) -> String {
    for _ in 0..3_000 {
        let page = page(server);
        if ROWS.iter().all(|row| page.contains(row)) {
            return page;
        }
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    panic!("the page lacks a row after a minute:\n{}", page(server));
}

/// Sends events, and returns once the page shows their rows, before and after a restart.
async fn check_rows_after_restart(inbox: &str, folder: &TempDir) {
    let server = start(inbox, folder.path());
    assert!(page(&server).contains("scenario checkout</code> sends events for one"));
    send_events(&server);
    let response = page_with_rows(&server).await;
    assert!(!response.contains("<script"), "{response}");
    let (status, log) = server.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("ERROR") && !log.contains(postgres::PASSWORD), "{log}");

    page_with_rows(&start(inbox, folder.path())).await;
    let outbox = fs::read_dir(folder.path().join("outbox")).expect("the program makes the folder");
    let mails: Vec<_> = outbox.collect();
    let [Ok(mail)] = &mails[..] else { panic!("expected one mail: {mails:?}") };
    let mail = fs::read_to_string(mail.path()).expect("mail is UTF-8");
    assert!(mail.contains("Subject: Receipt for order 6735"), "{mail}");
    assert!(mail.contains("<jenny@example.com>\r\n"), "{mail}");
}

#[tokio::test]
async fn page_shows_rows_in_sqlite_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    check_rows_after_restart(&url(folder.path()), &folder).await;
}

#[tokio::test]
async fn page_shows_rows_in_postgres_across_a_restart() {
    let Some(database) = postgres::shared() else { return };
    let (folder, name) = (tempfile::tempdir().unwrap(), unused_name());
    let mut admin = PgConnection::connect(&database.url()).await.unwrap();
    let create = AssertSqlSafe(format!("create database {name}"));
    query(create).execute(&mut admin).await.unwrap();
    check_rows_after_restart(&database.url_of(&name), &folder).await;
}

#[tokio::test]
async fn page_is_served_while_a_transaction_writes() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let server = start(&url, folder.path());
    let options = SqliteConnectOptions::from_str(&url).unwrap();
    let mut writer = SqliteConnection::connect_with(&options).await.unwrap();
    let transaction = writer.begin_with("BEGIN EXCLUSIVE").await.unwrap();
    page(&server);
    transaction.rollback().await.unwrap();
}

#[test]
fn page_is_only_on_the_internal_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&url(folder.path()), folder.path());
    let internal = server.internal_address();
    let line =
        format!("\norders, subscriptions and disputes are shown at http://{internal}/shop\n");
    assert!(server.printed.contains(&line), "{}", server.printed);
    for (address, request_line, status) in [
        (server.address(), "GET /shop", "404 Not Found"),
        (server.address(), "GET /shop.css", "404 Not Found"),
        (internal, "GET /shop.css", "200 OK"),
        (internal, "POST /shop", "404 Not Found"),
        (internal, "GET /shop/", "404 Not Found"),
    ] {
        let response = exchange(address, request_line);
        let begin = format!("HTTP/1.1 {status}\r\n");
        assert!(response.starts_with(&begin), "{request_line} to {address}: {response}");
    }
}

#[test]
fn page_runs_no_script_and_is_not_cached() {
    let folder = tempfile::tempdir().unwrap();
    let head = page(&start(&url(folder.path()), folder.path()));
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; style-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
    ] {
        assert!(head.contains(&format!("\r\n{header}\r\n")), "{head}");
    }
}

#[test]
fn page_is_refused_if_the_host_is_a_dns_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&url(folder.path()), folder.path());
    for host in ["127.0.0.1", "localhost:4243", "[::1]:4243", "192.0.2.1"] {
        let response = get(server.internal_address(), host);
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{host}: {response}");
    }
    for host in ["shop.example", "127.0.0.1.example:4243", "localhost.example", ""] {
        let response = get(server.internal_address(), host);
        assert!(response.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{host}: {response}");
    }
}

fn assert_shop_is_left_out(server: &Running) {
    let line = "\nthe shop is left out: its tables need an inbox in SQLite or PostgreSQL\n";
    assert!(server.printed.contains(line), "{}", server.printed);
    assert!(
        server.printed.contains("\nleft out: handlers/shop/src/orders.rs:"),
        "{}",
        server.printed
    );
    let response = get(server.internal_address(), "localhost");
    assert!(response.starts_with("HTTP/1.1 404 Not Found\r\n"), "{response}");
}

#[test]
fn shop_is_left_out_without_an_inbox() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = folder.path().join("outbox");
    assert_shop_is_left_out(&Running::start(program().env("OUTBOX", &outbox)));
    assert!(!outbox.exists());
}

#[test]
fn shop_is_left_out_with_nats() {
    let Some(server) = nats::Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    assert_shop_is_left_out(&start(&server.url_of("shop"), folder.path()));
}

#[test]
fn mail_server_is_printed_without_password() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program_with(&url(folder.path()));
    command.env_remove("OUTBOX").env("SMTP_URL", "smtp://shop:geheim@127.0.0.1:1");
    let server = Running::start(command.env("MAIL_FROM", "The Shop <shop@example.com>"));
    assert!(
        server.printed.contains("\nmails go to the mail server 127.0.0.1:1\n"),
        "{}",
        server.printed
    );
    let printed = server.printed.clone();
    let (_, log) = server.terminate();
    assert!(!printed.contains("geheim") && !log.contains("geheim"), "{printed}{log}");
}

#[test]
fn invalid_mail_options_are_rejected_without_password() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = url(folder.path());
    let server = "--smtp=smtp://shop:geheim@mail.example.com";
    for (options, code, problem) in [
        (vec![server], 2, "--mail-from <SENDER>"),
        (vec![server, "--mail-from=shop@example.com", "--outbox=x"], 2, "cannot be used with"),
        (
            vec!["--smtp=mail://shop:geheim@localhost", "--mail-from=shop@example.com"],
            1,
            "error: SMTP_URL, --smtp or --mail-from: invalid URL of the mail server: it must begin with smtp://",
        ),
        (vec![server, "--mail-from=shop"], 1, "invalid sender \"shop\""),
        (
            vec!["--outbox=/dev/null"],
            1,
            "error: --outbox or --mail-from: failed to create the folder /dev/null for mail",
        ),
    ] {
        let (found, stderr) = refused(program_with(&inbox).env_remove("OUTBOX").args(options));
        assert_eq!(found, Some(code), "{stderr}");
        assert!(stderr.contains(problem) && !stderr.contains("geheim"), "{stderr}");
    }
}
