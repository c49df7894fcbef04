//! Handlers behind an inbox in NATS JetStream, which has no transaction to give.

use router_core::{BoxError, Router, on_event};
use router_inbox::{JetStreamStore, Tx, sqlx::Sqlite};

#[allow(dead_code, reason = "not every program needs all of it")]
#[path = "../../../router-inbox/tests/support/nats.rs"]
mod nats;

#[on_event("invoice.paid", name = "shop.write")]
async fn write(mut tx: Tx<Sqlite>) -> Result<(), BoxError> {
    tx.begin().await?;
    Ok(())
}

#[tokio::test]
async fn who_wants_a_transaction_is_told_what_there_is_instead() {
    let Some(server) = nats::Server::start() else { return };
    let store = JetStreamStore::connect(&server.url()).await.unwrap();
    let router = Router::builder().without_linked().add::<write>().delivered_by(&store);
    insta::assert_snapshot!(router.build().unwrap_err(), @r"
    the router cannot be built: 1 problem
      1. these handlers take a `router_inbox::tx::Tx<sqlx_sqlite::database::Sqlite>`, which this router does not provide
           tests/tests/inbox/jetstream.rs:10  `shop.write`  on invoice.paid
         help: an inbox in NATS JetStream has no transaction for handlers: take an `IdempotencyKey`, and let the database reject a duplicate key; or keep the inbox in the handler's database, with `SqliteStore` or `PostgresStore`
    ");
}
