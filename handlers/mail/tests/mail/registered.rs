//! All handlers are registered, changes of the routes are visible in reviews, and `build()` fails
//! without a mailer.

use router_core::Router;
use shop_mail::{
    Mailer,
    receipts::{charge_succeeded, invoice_paid},
};

use crate::receipts::{FROM, Shop};

#[test]
fn every_handler_is_registered() {
    router_core::assert_all_registered!(shop_mail::PLUGIN);
}

#[tokio::test]
async fn routes_match_snapshot() {
    let outbox = tempfile::tempdir().unwrap();
    let shop = Shop::new(Mailer::folder(outbox.path(), FROM).unwrap()).await;
    insta::assert_snapshot!(shop.inbox.inbox().router().routes(), @r"
    EVENT TYPE        HANDLER                    SOURCE
    charge.captured   receipts.charge_succeeded  handlers/mail/src/receipts.rs:84  Mails a receipt for a payment without an invoice.
    charge.succeeded  receipts.charge_succeeded  handlers/mail/src/receipts.rs:84  Mails a receipt for a payment without an invoice.
    invoice.paid      receipts.invoice_paid      handlers/mail/src/receipts.rs:62  Mails a receipt for a paid invoice.
    ");
}

#[test]
fn build_fails_without_mailer_and_transaction() {
    let router = Router::builder().only::<invoice_paid>().only::<charge_succeeded>();
    insta::assert_snapshot!(router.build().unwrap_err(), @r"
    the router cannot be built: 3 problems
      1. these handlers need a state of type `shop_mail::mailer::Mailer`, which was not added
           handlers/mail/src/receipts.rs:84  `receipts.charge_succeeded`  on charge.succeeded, charge.captured
           handlers/mail/src/receipts.rs:62  `receipts.invoice_paid`  on invoice.paid
         help: call `.state(...)` before `.build()`
      2. these handlers need a state of type `shop_mail::outbox::SentMails`, which was not added
           handlers/mail/src/receipts.rs:84  `receipts.charge_succeeded`  on charge.succeeded, charge.captured
           handlers/mail/src/receipts.rs:62  `receipts.invoice_paid`  on invoice.paid
         help: call `.state(...)` before `.build()`
      3. these handlers take a `router_inbox::tx::Tx<sqlx_sqlite::database::Sqlite>` or a `router_inbox::tx::Tx<sqlx_postgres::database::Postgres>`, which this router does not provide
           handlers/mail/src/receipts.rs:84  `receipts.charge_succeeded`  on charge.succeeded, charge.captured
           handlers/mail/src/receipts.rs:62  `receipts.invoice_paid`  on invoice.paid
         help: a service such as an inbox provides it with each delivery: call `.delivered_by(&store)` before `.build()`; in a test, replace `TestRouter` by `router_inbox::testing::TestInbox` (feature `testing`)
    ");
}
