//! The present state of a subscription.

use router_core::testing::SyntheticEvent;
use router_stripe::testing::{Fault, StubStripe};
use serde_json::json;

use crate::support::{Shop, event, router};

const ROWS: &str = "select concat(subscription, ' ', status) from subscriptions";

fn subscription(change: &str, seconds: u64, status: &str) -> SyntheticEvent {
    event(&format!("customer.subscription.{change}"), seconds)
        .set("id", "sub_1")
        .set("status", status)
}

#[tokio::test]
async fn late_states_do_not_replace_newer_ones() {
    for shop in Shop::on_each_engine(router).await {
        for (change, seconds, status) in [
            ("updated", 9, "past_due"),
            ("updated", 5, "active"),
            ("created", 0, "incomplete"),
            ("updated", 9, "active"),
        ] {
            shop.handle(&subscription(change, seconds, status).build().unwrap()).await;
        }
        assert_eq!(shop.rows(ROWS).await, ["sub_1 past_due"]);
        shop.handle(&subscription("deleted", 9, "canceled").build().unwrap()).await;
        shop.handle(&subscription("updated", 20, "active").build().unwrap()).await;
        assert_eq!(shop.rows(ROWS).await, ["sub_1 canceled"]);
    }
}

/// The fixed rule would take `past_due`.
#[tokio::test]
async fn fetched_state_wins_a_tie() {
    let stripe = StubStripe::start().await.unwrap();
    let router = || router().without::<shop::mirror::record>().state(stripe.client());
    for shop in Shop::on_each_engine(router).await {
        for status in ["past_due", "active"] {
            let updated = subscription("updated", 9, status).build().unwrap();
            stripe.set_object_of_event(updated.event());
            shop.handle(&updated).await;
        }
        assert_eq!(shop.rows(ROWS).await, ["sub_1 active"]);
    }
}

#[tokio::test]
async fn state_in_the_event_is_taken_if_the_key_lacks_the_permission() {
    let stripe = StubStripe::start().await.unwrap();
    let router = || router().without::<shop::mirror::record>().state(stripe.client());
    let shop = Shop::sqlite(router()).await;
    stripe.fault(Fault::error(403, "the key lacks the permission"));
    shop.handle(&subscription("updated", 9, "active").build().unwrap()).await;
    assert_eq!(shop.rows(ROWS).await, ["sub_1 active"]);
    // Deleted at Stripe.
    shop.handle(&subscription("updated", 10, "past_due").build().unwrap()).await;
    assert_eq!(shop.rows(ROWS).await, ["sub_1 past_due"]);
    stripe.set_object("/v1/subscriptions/sub_1", json!({"id": "sub_1"}));
    shop.handle(&subscription("updated", 11, "active").build().unwrap()).await;
    assert_eq!(shop.rows(ROWS).await, ["sub_1 active"]);
}
