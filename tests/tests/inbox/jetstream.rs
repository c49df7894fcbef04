//! Handlers behind an inbox on NATS JetStream, which provides no transaction.

use router_core::{BoxError, Router, on_event};
use router_inbox::{JetStreamStore, Tx, sqlx::Sqlite};
use router_test_servers::nats::Server;

#[on_event("invoice.paid", name = "shop.write")]
async fn write(mut tx: Tx<Sqlite>) -> Result<(), BoxError> {
    tx.begin().await?;
    Ok(())
}

#[tokio::test]
async fn tx_handler_on_jetstream_fails_to_build_with_hint() {
    let Some(server) = Server::start() else { return };
    let store = JetStreamStore::connect(&server.url()).await.unwrap();
    let router = Router::builder().without_linked().add::<write>().delivered_by(&store);
    insta::assert_snapshot!(router.build().unwrap_err(), @r"
    the router cannot be built: 1 problem
      1. these handlers take a `router_inbox::tx::Tx<sqlx_sqlite::database::Sqlite>`, which this router does not provide
           tests/tests/inbox/jetstream.rs:7  `shop.write`  on invoice.paid
         help: an inbox in NATS JetStream has no transaction for handlers: take an `IdempotencyKey`, and let the database reject a duplicate key; or keep the inbox in the handler's database, with `SqliteStore` or `PostgresStore`
    ");
}
