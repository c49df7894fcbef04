//! The mirror of every object.

use router_core::testing::SyntheticEvent;
use router_stripe::testing::StubStripe;

use crate::support::{Shop, event, router};

const ROWS: &str = "select concat(account, ' ', id, ' ', object, ' ', \
                    case when deleted then 'deleted' else 'exists' end) \
                    from stripe_objects order by account, id, object";

#[tokio::test]
async fn deleted_object_stays_as_tombstone() {
    let customer = |change: &str, seconds| event(change, seconds).set("id", "cus_1");
    for shop in Shop::on_each_engine(router).await {
        shop.handle(&customer("customer.deleted", 5).build().unwrap()).await;
        shop.handle(&customer("customer.updated", 9).build().unwrap()).await;
        let other = customer("customer.updated", 9).account("acct_1").set("name", "A\u{0}B");
        shop.handle(&other.build().unwrap()).await;
        let rows = [" cus_1 customer deleted", "acct_1 cus_1 customer exists"];
        assert_eq!(shop.rows(ROWS).await, rows);
        // PostgreSQL's `jsonb` would refuse the escape.
        let data = "select cast(data as text) from stripe_objects where account = 'acct_1'";
        assert!(shop.rows(data).await[0].contains("A\\u0000B"));
        assert_eq!(shop.outcomes("mirror.record"), ["done", "ignored", "done"]);
    }
}

/// A shop chooses the ids of its coupons, plans and products.
#[tokio::test]
async fn objects_of_two_types_with_one_id_have_two_rows() {
    for shop in Shop::on_each_engine(router).await {
        for event_type in ["coupon.created", "plan.created", "product.created"] {
            shop.handle(&event(event_type, 0).set("id", "gold").build().unwrap()).await;
        }
        assert_eq!(
            shop.rows(ROWS).await,
            [" gold coupon exists", " gold plan exists", " gold product exists"]
        );
    }
}

#[tokio::test]
async fn object_without_id_is_skipped() {
    let shop = Shop::sqlite(router()).await;
    shop.handle(&event("balance.available", 0).build().unwrap()).await;
    shop.handle(&SyntheticEvent::new("v1.customer.created").build().unwrap()).await;
    assert_eq!(shop.outcomes("mirror.record"), ["ignored", "ignored"]);
    assert!(shop.rows(ROWS).await.is_empty());
}

#[tokio::test]
async fn fetched_state_wins_a_tie() {
    let stripe = StubStripe::start().await.unwrap();
    let with_client = || router().state(stripe.client());
    for shop in Shop::on_each_engine(with_client).await {
        // The greater text, which wins without a client, is first.
        for name in ["Z", "A"] {
            let updated = event("customer.updated", 9).set("id", "cus_1").set("name", name);
            let updated = updated.build().unwrap();
            stripe.set_object_of_event(updated.event());
            shop.handle(&updated).await;
        }
        assert_eq!(shop.rows("select data ->> 'name' from stripe_objects").await, ["A"]);
    }
}
