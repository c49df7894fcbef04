//! Synthetic events, received by a real endpoint with an inbox in a temporary file.

use my_shop::payments;

use router_core::Router;
use router_core::testing::SyntheticEvent;
use router_inbox::sqlx;
use router_inbox::testing::TestInbox;

#[tokio::test]
async fn payment_is_recorded_once() {
    let router = Router::builder().plugins([my_shop::PLUGIN]);
    let shop = TestInbox::new(router).await.unwrap();
    payments::create_table(shop.pool()).await.unwrap();

    let event = SyntheticEvent::new("payment_intent.succeeded")
        .set("id", "pi_1")
        .set("amount", 2000)
        .set("currency", "eur")
        .build()
        .unwrap();
    for outcome in ["stored", "duplicate"] {
        assert_eq!(shop.deliver(&event).await.outcome(), outcome);
        shop.run_until_idle().await;
    }
    assert_eq!(shop.outcomes("payments.record"), ["done"]);

    let rows: Vec<(String, i64, String)> = sqlx::query_as("select * from payments")
        .fetch_all(shop.pool())
        .await
        .unwrap();
    assert_eq!(rows, [("pi_1".into(), 2000, "eur".into())]);
}
