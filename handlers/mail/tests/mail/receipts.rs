//! Delivers events to the handlers behind an inbox, with a real SMTP server.

use std::{fs, time::Duration};

use router_core::{
    Router,
    build::RouterBuilder,
    clock::{Clock as _, SystemClock},
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    PostgresStore, SqliteStore, store::DeliveryState, store::Operations as _, testing::TestInbox,
};
use router_test_servers::{postgres, smtp::Server, unused_name};
use serde_json::{Value, json};
use shop_mail::{
    Mailer, SentMails,
    receipts::{charge_succeeded, invoice_paid},
};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use tempfile::TempDir;

pub(crate) const FROM: &str = "The Shop <shop@example.com>";
const INVOICE: &str = "receipts.invoice_paid";
const CHARGE: &str = "receipts.charge_succeeded";

/// Longer than the backoff after a first attempt, 15 s ±25 %.
const FIRST_RETRY: Duration = Duration::from_secs(20);

/// An inbox in a SQLite file that has the shop's tables.
pub(crate) struct Shop {
    pub(crate) inbox: TestInbox,
    folder: TempDir,
}

impl Shop {
    pub(crate) async fn new(mailer: Mailer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder).await;
        let clock = ManualClock::at(SystemClock.wall());
        let store = SqliteStore::options().clock(clock.clone()).open_with(&pool).await.unwrap();
        let router = router(mailer, pool).delivered_by(&store);
        Self { inbox: TestInbox::with_store(router, store, clock).unwrap(), folder }
    }

    /// Returns a shop with this mail server.
    async fn with_server(server: &Server) -> Self {
        Self::new(Mailer::smtp(&server.url(), FROM).unwrap()).await
    }

    async fn handle(&self, event: SyntheticEvent) {
        self.inbox.deliver(event).await;
        self.inbox.run_until_idle().await;
    }
}

async fn pool(folder: &TempDir) -> SqlitePool {
    let url = format!("sqlite:{}/shop.db?mode=rwc", folder.path().display());
    let pool = SqlitePool::connect(&url).await.unwrap();
    shop::database::migrate_sqlite(&pool).await.unwrap();
    pool
}

fn router(mailer: Mailer, sent: impl Into<SentMails>) -> RouterBuilder {
    let router = Router::builder().only::<invoice_paid>().only::<charge_succeeded>();
    router.state(mailer).state(sent.into())
}

/// Returns the only mail of the server.
fn only(server: &mut Server) -> Value {
    let mails = server.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    mails.into_iter().next().unwrap()
}

#[tokio::test]
async fn paid_invoice_is_receipted_in_text_and_html() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::with_server(&server).await;
    let event = SyntheticEvent::new("invoice.paid")
        .set("amount_paid", 123_456)
        .set("currency", "eur")
        .set("customer_name", "Zoë 東京")
        .set("hosted_invoice_url", "https://invoice.stripe.com/i/1");
    shop.handle(event).await;

    assert_eq!(shop.inbox.outcomes(INVOICE), ["done"]);
    let mail = only(&mut server);
    assert_eq!(mail["to"], json!(["jenny.rosen@example.com"]));
    assert_eq!(mail["headers"]["subject"], "Receipt for invoice 0759376C-0002");
    let (text, html) = (mail["text"].as_str().unwrap(), mail["html"].as_str().unwrap());
    for part in ["Zoë 東京", "EUR 1234.56", "https://invoice.stripe.com/i/1"] {
        assert!(text.contains(part) && html.contains(part), "{part}: {mail}");
    }
}

#[tokio::test]
async fn amounts_of_charges_have_decimals_of_their_currency() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::with_server(&server).await;
    for (seed, currency) in [(1, "jpy"), (2, "kwd")] {
        let event = SyntheticEvent::new("charge.succeeded").seed(seed).set("currency", currency);
        shop.handle(event.set("amount_captured", 5120)).await;
    }
    let mails = server.mails();
    let [yen, dinars] = &*mails else { panic!("{mails:?}") };
    assert_eq!(yen["headers"]["subject"], "Receipt for order 6735");
    for part in ["text", "html"] {
        assert!(yen[part].as_str().unwrap().contains("JPY 5120"), "{yen}");
        assert!(dinars[part].as_str().unwrap().contains("KWD 5.120"), "{dinars}");
    }
}

#[tokio::test]
async fn hostile_name_changes_no_header_and_no_html() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::with_server(&server).await;
    let name = "Eve\r\nBcc: spam@evil.example\r\n\r\n<script>alert(1)</script>";
    let event = SyntheticEvent::new("charge.succeeded").set("billing_details.name", name);
    shop.handle(event).await;

    let mail = only(&mut server);
    assert_eq!(mail["to"], json!(["jenny.rosen@example.com"]));
    assert_eq!(mail["headers"].get("bcc"), None);
    let text = mail["text"].as_str().unwrap();
    assert!(text.starts_with("Hello Eve Bcc: spam@evil.example <script>"), "{text}");
    let html = mail["html"].as_str().unwrap();
    assert!(html.contains("&#60;script&#62;") && !html.contains("<script"), "{html}");
}

#[tokio::test]
async fn deferred_mail_is_retried_and_arrives_once() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::with_server(&server).await;
    server.refuse("DATA", "451 4.3.0 try later");
    shop.handle(SyntheticEvent::new("invoice.paid")).await;
    assert_eq!(shop.inbox.outcomes(INVOICE), ["retry"]);
    shop.inbox.run_for(FIRST_RETRY).await;
    assert_eq!(shop.inbox.outcomes(INVOICE), ["retry", "done"]);
    only(&mut server);
}

#[tokio::test]
async fn rejected_mail_is_dead_letter_with_reply() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::with_server(&server).await;
    server.refuse("RCPT", "550 5.1.1 <jenny.rosen@example.com>: no such user");
    shop.handle(SyntheticEvent::new("invoice.paid").id("evt_1")).await;
    let delivery = shop.inbox.delivery("evt_1", INVOICE).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Dead, 1));
    let error = shop.inbox.attempts(INVOICE)[0].error.clone().unwrap();
    assert!(error.contains("(550): 5.1.1 <(address)>: no such user"), "{error}");

    // The operator retries it, after the customer has a new mailbox.
    shop.inbox.store().retry("evt_1", None).await.unwrap();
    shop.inbox.run_until_idle().await;
    only(&mut server);
}

#[tokio::test]
async fn mail_arrives_after_outage_of_server() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::with_server(&server).await;
    server.stop();
    shop.handle(SyntheticEvent::new("charge.succeeded")).await;
    assert_eq!(shop.inbox.outcomes(CHARGE), ["retry"]);
    server.restart();
    shop.inbox.run_for(FIRST_RETRY).await;
    assert_eq!(shop.inbox.outcomes(CHARGE), ["retry", "done"]);
    only(&mut server);
}

#[tokio::test]
async fn payment_is_receipted_once() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::with_server(&server).await;
    let authorized = SyntheticEvent::new("charge.succeeded").set("amount_captured", 0);
    shop.handle(authorized).await;
    assert!(server.mails().is_empty());
    let captured = SyntheticEvent::new("charge.captured").id("evt_1").build().unwrap();
    shop.inbox.deliver(&captured).await;
    shop.inbox.deliver(&captured).await;
    shop.inbox.run_until_idle().await;
    // Another event of the same payment.
    shop.handle(SyntheticEvent::new("charge.succeeded")).await;
    assert_eq!(shop.inbox.outcomes(CHARGE), ["ignored", "done", "ignored"]);
    only(&mut server);
}

#[tokio::test]
async fn payment_of_invoice_is_receipted_by_invoice_alone() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::with_server(&server).await;
    shop.handle(SyntheticEvent::new("charge.succeeded").set("metadata", json!({}))).await;
    shop.handle(SyntheticEvent::new("invoice.paid")).await;
    assert_eq!(shop.inbox.outcomes(CHARGE), ["ignored"]);
    assert_eq!(only(&mut server)["headers"]["subject"], "Receipt for invoice 0759376C-0002");
}

#[tokio::test]
async fn crash_after_sending_repeats_mail_with_same_message_id() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::with_server(&server).await;
    shop.inbox.deliver(SyntheticEvent::new("invoice.paid")).await;
    shop.inbox.crash_in(INVOICE).await;

    let (inbox, mailer) = (shop.inbox, Mailer::smtp(&server.url(), FROM).unwrap());
    let inbox = inbox.restart(router(mailer, pool(&shop.folder).await)).await.unwrap();
    inbox.run_for(Duration::from_secs(120)).await; // The lease is 60 s, the backoff 15 s, ±25 %.
    assert_eq!(inbox.outcomes(INVOICE), ["aborted", "done"]);
    let mails = server.mails();
    let [first, second] = &*mails else { panic!("{mails:?}") };
    assert_eq!(first["headers"]["message-id"], second["headers"]["message-id"]);
}

#[tokio::test]
async fn address_decides_between_nothing_and_dead_letter() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::with_server(&server).await;
    shop.handle(SyntheticEvent::new("invoice.paid").set("customer_email", Value::Null)).await;
    shop.handle(SyntheticEvent::new("invoice.paid").set("customer_email", "jenny@")).await;
    shop.handle(SyntheticEvent::new("invoice.paid").set("amount_paid", 0)).await;
    assert_eq!(shop.inbox.outcomes(INVOICE), ["ignored", "dead", "ignored"]);
    let error = shop.inbox.attempts(INVOICE)[1].error.clone();
    assert_eq!(error.as_deref(), Some("the recipient's mail address is malformed"));

    let without = SyntheticEvent::new("charge.succeeded").set("billing_details.email", Value::Null);
    shop.handle(without).await;
    assert_eq!(shop.inbox.outcomes(CHARGE), ["ignored"]);
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn receipts_can_be_read_in_folder() {
    let outbox = tempfile::tempdir().unwrap();
    let shop = Shop::new(Mailer::folder(outbox.path(), FROM).unwrap()).await;
    shop.handle(SyntheticEvent::new("charge.succeeded").set("amount_captured", 2000)).await;
    let files: Vec<_> = fs::read_dir(outbox.path()).unwrap().map(|file| file.unwrap()).collect();
    let [file] = &*files else { panic!("{files:?}") };
    let eml = fs::read_to_string(file.path()).unwrap();
    assert!(eml.contains("Paid: USD 20.00"), "{eml}");
}

#[tokio::test]
async fn payment_is_receipted_once_with_postgres() {
    let (Some(mut server), Some(database)) = (Server::start(), postgres::shared()) else { return };
    let name = unused_name();
    let admin = PgPool::connect(&database.url()).await.unwrap();
    let create = AssertSqlSafe(format!("create database {name}"));
    sqlx::raw_sql(create).execute(&admin).await.unwrap();
    let pool = PgPool::connect(&database.url_of(&name)).await.unwrap();
    let store = PostgresStore::from_pool(&pool).await.unwrap();
    shop::database::migrate_postgres(&pool).await.unwrap();
    let mailer = Mailer::smtp(&server.url(), FROM).unwrap();
    let router = router(mailer, pool).delivered_by(&store);
    let clock = ManualClock::at(SystemClock.wall());
    let inbox = TestInbox::with_store(router, store, clock).unwrap();
    for _ in 0..2 {
        inbox.deliver(SyntheticEvent::new("invoice.paid")).await;
        inbox.run_until_idle().await;
    }
    assert_eq!(inbox.outcomes(INVOICE), ["done", "ignored"]);
    only(&mut server);
}
