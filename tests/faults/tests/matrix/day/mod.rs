//! A shop's day: orders of all scenarios of `event-router` reach the plugins `shop` and
//! `shop-mail`. A fifth of the events arrive twice, all in random order. One write and one mail in
//! twenty fail, the process is killed twice, and the database has an outage. In the end the shop's
//! tables and the mailbox of a real mail server are compared with the sender's ledger, row by row.
//!
//! There are 50 orders, or 400 with the feature `long`. `FAULT_ORDERS=…` sets the number, for
//! example to 10,000 in a release build (`just day`).

mod ledger;
mod orders;
mod permutations;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::Payload,
};
use router_test_servers::{postgres, smtp};
use serde_json::Value;
use tokio::process::Command;

use self::ledger::{Ledger, TABLES, text};
use crate::{process::Process, seeded_rng, shop::Shop, stripe, wait_until};

/// The share of the events that arrive twice.
const DUPLICATES: f64 = 0.2;

/// The percentage of writes and mails that fail.
const FAILURES: f64 = 5.0;

/// Maximum number of events that are sent concurrently.
const MAX_IN_FLIGHT: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn shops_day_on_sqlite_agrees_with_ledger() {
    let Some(mail_server) = smtp::Server::start() else { return };
    let shop = Shop::on_sqlite().await;
    check_day(&shop, mail_server, async || {
        let lock = shop.database.lock_sqlite().await;
        SystemClock.sleep(OUTAGE).await;
        lock.rollback().await.expect("the lock is held");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shops_day_on_postgres_agrees_with_ledger() {
    let Some(mail_server) = smtp::Server::start() else { return };
    let Some(mut server) = postgres::Server::start() else { return };
    let shop = Shop::on_postgres_server(&server).await;
    check_day(&shop, mail_server, async || {
        server.kill();
        SystemClock.sleep(OUTAGE).await;
        server.restart();
    })
    .await;
}

fn number_of_orders() -> usize {
    let number = std::env::var("FAULT_ORDERS").ok();
    let default = if cfg!(feature = "long") { 400 } else { 50 };
    number.map_or(default, |number| number.parse().expect("FAULT_ORDERS is a number"))
}

/// Duration of the database's outage.
const OUTAGE: Duration = Duration::from_secs(1);

async fn check_day(shop: &Shop, mut mail_server: smtp::Server, outage: impl AsyncFnOnce()) {
    let started = SystemClock.monotonic();
    let mut rng = seeded_rng();
    let orders = orders::place(number_of_orders(), &mut rng).await;
    let ledger = Ledger::new(&orders);
    let deliveries = deliveries(orders.iter().flat_map(|order| &order.events), &mut rng);
    println!(
        "{} orders, {} events, {} deliveries, generated in {:.1} s",
        orders.len(),
        ledger.events.len(),
        deliveries.len(),
        (SystemClock.monotonic() - started).as_secs_f64(),
    );

    let started = SystemClock.monotonic();
    mail_server.defer(FAILURES, rng.u64(..));
    let mut process = serve(shop, &mail_server).await;
    shop.database.run_sql(&failing_writes(shop)).await;
    let stripe = shop.stripe.clone();
    let sending =
        tokio::spawn(async move { stripe.deliver_concurrently(deliveries, MAX_IN_FLIGHT).await });
    for share in [rng.f64() / 3.0, (1.0 + rng.f64()) / 3.0] {
        wait_for_share(shop, &ledger, share).await;
        process.kill().await;
        shop.stripe.set_endpoint(None);
        process = serve(shop, &mail_server).await;
    }
    wait_for_share(shop, &ledger, (2.0 + rng.f64()) / 3.0).await;
    outage().await;
    sending.await.expect("all events are acknowledged");
    wait_for_steps("completion of all deliveries", async || {
        SystemClock.sleep(Duration::from_millis(200)).await;
        let backlog = shop.database.store.backlog().await.ok()?;
        Some(backlog.iter().map(|handler| handler.waiting + handler.running).sum())
    })
    .await;
    let seconds = (SystemClock.monotonic() - started).as_secs_f64();

    check_inbox(shop, &ledger).await;
    for (table, query) in TABLES {
        let found = shop.database.texts(query).await;
        let expected = &ledger.rows[table];
        match table {
            // A dispute that is known to be answered when its first event arrives has no alert.
            "dispute_alerts" => {
                println!("{} of {} disputes were alerted", found.len(), expected.len());
                let unexpected: Vec<_> =
                    found.iter().filter(|alert| !expected.contains(*alert)).collect();
                assert_eq!(unexpected, [&""; 0], "alerts");
            }
            _ => assert_same(table, expected, found),
        }
    }
    check_mailbox(&ledger, &mail_server.mails());
    let log = shop.log();
    let failures = |text: &str| {
        let lines = log.lines().filter(|line| line.contains("handler failed"));
        lines.filter(|line| line.contains(text)).count()
    };
    println!(
        "{} failed writes, {} deferred mails, {seconds:.1} s",
        failures("injected failure"),
        failures("(451)"),
    );
    assert!(process.is_alive(), "process survives the outage");
    assert!(failures("injected failure") > 0 && failures("(451)") > 0, "{log}");
}

/// Returns the events in random order, some of them twice.
fn deliveries<'e>(
    events: impl Iterator<Item = &'e Payload>,
    rng: &mut fastrand::Rng,
) -> Vec<Payload> {
    let mut deliveries = Vec::new();
    for event in events {
        let times = if rng.f64() < DUPLICATES { 2 } else { 1 };
        deliveries.extend(std::iter::repeat_n(event.clone(), times));
    }
    rng.shuffle(&mut deliveries);
    deliveries
}

/// Starts a process of the plugins' shop, and waits until it serves.
async fn serve(shop: &Shop, mail_server: &smtp::Server) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plugin-shop"));
    command.args(["--inbox", &shop.database.url, "--smtp", &mail_server.url()]);
    command.args(["--secret", stripe::SECRET]);
    let process = shop.start_command(command);
    shop.wait_until_serving(process).await.expect("process serves")
}

/// Returns statements that make each write of the shop fail at random.
fn failing_writes(shop: &Shop) -> String {
    let tables = TABLES.map(|(table, _)| table);
    if shop.database.is_sqlite() {
        let trigger = |table| {
            format!(
                "create trigger fail_{table} before insert on {table}
                 when abs(random() % 1000) < {FAILURES} * 10
                 begin select raise(abort, 'injected failure'); end;"
            )
        };
        return tables.map(trigger).concat();
    }
    let trigger = |table| {
        format!(
            "create trigger fail_{table} before insert on {table}
             for each row execute function fail_sometimes();"
        )
    };
    let function = format!(
        "create function fail_sometimes() returns trigger language plpgsql as $$
         begin
             if random() * 100 < {FAILURES} then raise exception 'injected failure'; end if;
             return new;
         end $$;"
    );
    function + &tables.map(trigger).concat()
}

/// Waits until this share of the events is acknowledged.
async fn wait_for_share(shop: &Shop, ledger: &Ledger, share: f64) {
    let number = (ledger.events.len() as f64 * share) as usize;
    wait_for_steps("acknowledgement of events", async || {
        Some(number.saturating_sub(shop.stripe.acknowledged_number()) as u64)
    })
    .await;
}

/// Waits until the number of remaining steps is 0. Panics with the description if the number does
/// not change for [`crate::TIMEOUT`]. `None` is an unknown number.
async fn wait_for_steps(description: &str, mut remaining: impl AsyncFnMut() -> Option<u64>) {
    let mut last = None;
    while last != Some(0) {
        let before = last;
        wait_until(description, async || {
            last = remaining().await.or(before);
            last != before
        })
        .await;
    }
}

/// Checks that each event is stored once, and that no delivery has failed for good.
async fn check_inbox(shop: &Shop, ledger: &Ledger) {
    let operations = shop.database.store.operations().expect("databases support it");
    let status = operations.status().await.expect("store is readable");
    assert_eq!(status.events, ledger.events.len() as u64, "stored events");
    let dead: Vec<_> = status.handlers.iter().filter(|handler| handler.dead.number > 0).collect();
    assert!(dead.is_empty(), "dead letters: {dead:?}");
    let acknowledged = shop.stripe.acknowledged();
    assert!(acknowledged.keys().eq(&ledger.events), "every event is acknowledged");
}

/// Checks that each receipt has arrived. If a write fails after the mail server has accepted a
/// mail, the mail is sent again with the same `Message-ID`, by which mail programs recognize it.
fn check_mailbox(ledger: &Ledger, mails: &[Value]) {
    let mut by_message_id = BTreeMap::new();
    for mail in mails {
        let recipient = text(&mail["to"][0]);
        let paid = mail["text"].as_str().and_then(|text| text.split_once("Paid: "));
        let amount = paid.and_then(|(_, amount)| amount.lines().next()).unwrap_or_default();
        let row = format!("{recipient} {} {amount}", text(&mail["headers"]["subject"]));
        let message_id = text(&mail["headers"]["message-id"]);
        let first = by_message_id.entry(message_id).or_insert_with(|| row.clone());
        assert_eq!(*first, row, "mails with one `Message-ID` are equal");
    }
    println!("{} receipts, in {} mails", by_message_id.len(), mails.len());
    assert_same("mailbox", &ledger.mails, by_message_id.into_values().collect());
}

/// Checks that each expected row has been found once, and no other row.
fn assert_same(name: &str, expected: &BTreeSet<String>, found: Vec<String>) {
    let number = found.len();
    let found: BTreeSet<_> = found.into_iter().collect();
    let missing: Vec<_> = expected.difference(&found).take(3).collect();
    let unexpected: Vec<_> = found.difference(expected).take(3).collect();
    assert!(
        missing.is_empty() && unexpected.is_empty() && number == found.len(),
        "{name} differs from the ledger: {number} rows, {} distinct, {} expected\nmissing: \
         {missing:#?}\nunexpected: {unexpected:#?}",
        found.len(),
        expected.len(),
    );
}
