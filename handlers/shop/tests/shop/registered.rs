//! All handlers are registered, and `build()` fails without a transaction.

use router_core::Router;
use router_inbox::testing::TestInbox;
use sqlx::SqlitePool;

use crate::support::router;

#[test]
fn every_handler_is_registered() {
    router_core::assert_all_registered!(shop::PLUGIN);
}

#[tokio::test]
async fn routes_match_snapshot() {
    let shop = TestInbox::new(router()).await.unwrap();
    insta::assert_snapshot!(shop.inbox().router().routes(), @r"
    EVENT TYPE                                HANDLER                        SOURCE
    *                                         mirror.record                  handlers/shop/src/mirror.rs:37         Records the present state of an object.
    charge.dispute.*                          disputes.alert                 handlers/shop/src/disputes.rs:34       Records the present state of a dispute. Logs an alert if the dispute needs a response.
    charge.refunded                           orders.record_refunded_charge  handlers/shop/src/orders.rs:119        Records the total of a charge's refunds.
    checkout.session.async_payment_failed     orders.record                  handlers/shop/src/orders.rs:73         Records the state of an order. The order is paid once, when its row becomes paid.
    checkout.session.async_payment_succeeded  orders.record                  handlers/shop/src/orders.rs:73         Records the state of an order. The order is paid once, when its row becomes paid.
    checkout.session.completed                orders.record                  handlers/shop/src/orders.rs:73         Records the state of an order. The order is paid once, when its row becomes paid.
    checkout.session.expired                  orders.record                  handlers/shop/src/orders.rs:73         Records the state of an order. The order is paid once, when its row becomes paid.
    customer.subscription.*                   subscriptions.record           handlers/shop/src/subscriptions.rs:32  Records the present state of a subscription.
    refund.*                                  orders.record_refund           handlers/shop/src/orders.rs:135        Records the state of a refund.
    ");
}

/// Several processes of one application start at once.
#[tokio::test]
async fn migrations_at_once_wait_for_each_other() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/shop.db?mode=rwc", folder.path().display());
        let processes = [(); 2].map(|()| async {
            let pool = SqlitePool::connect(&url).await.unwrap();
            shop::database::migrate_sqlite(&pool).await
        });
        let [first, second] = processes;
        let (first, second) = tokio::join!(first, second);
        first.unwrap();
        second.unwrap();
    }
}

#[test]
fn build_fails_without_transaction() {
    let router = Router::builder().only::<shop::orders::record>();
    insta::assert_snapshot!(router.build().unwrap_err(), @r"
    the router cannot be built: 1 problem
      1. these handlers take a `router_inbox::tx::Tx<sqlx_sqlite::database::Sqlite>` or a `router_inbox::tx::Tx<sqlx_postgres::database::Postgres>`, which this router does not provide
           handlers/shop/src/orders.rs:73  `orders.record`  on checkout.session.completed, checkout.session.async_payment_succeeded, checkout.session.async_payment_failed, checkout.session.expired
         help: a service such as an inbox provides it with each delivery: call `.delivered_by(&store)` before `.build()`; in a test, replace `TestRouter` by `router_inbox::testing::TestInbox` (feature `testing`)
    ");
}
