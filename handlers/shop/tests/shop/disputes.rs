//! An alert for each due date of a dispute.

use router_core::testing::{Payload, SyntheticEvent};
use router_tests::logged::{log, logged};
use tracing_subscriber::filter::LevelFilter;

use crate::support::{Shop, event, router};

const ALERTS: &str = "select concat(dispute, ' ', due_by) from dispute_alerts order by due_by";
const DISPUTES: &str = "select concat(dispute, ' ', status) from disputes";

fn dispute(change: &str, seconds: u64, status: &str, due_by: u64) -> Payload {
    let event: SyntheticEvent = event(&format!("charge.dispute.{change}"), seconds);
    let event = event.set("id", "du_1").set("status", status);
    event.set("evidence_details.due_by", due_by).build().expect("the fields exist")
}

#[tokio::test]
async fn each_due_date_is_one_alert() {
    for shop in Shop::on_each_engine(router).await {
        let created = dispute("created", 0, "warning_needs_response", 100);
        shop.handle(&created).await;
        shop.handle(&created).await;
        shop.handle(&dispute("updated", 1, "warning_needs_response", 100)).await;
        assert_eq!(shop.rows(ALERTS).await, ["du_1 100"]);
        // The inquiry becomes a dispute.
        shop.handle(&dispute("updated", 2, "needs_response", 200)).await;
        shop.handle(&dispute("updated", 3, "under_review", 200)).await;
        shop.handle(&dispute("closed", 4, "lost", 200)).await;
        assert_eq!(shop.rows(ALERTS).await, ["du_1 100", "du_1 200"]);
        assert_eq!(shop.rows(DISPUTES).await, ["du_1 lost"]);
    }
}

/// The bank withdraws the money when an inquiry becomes a dispute.
#[tokio::test]
async fn every_event_of_a_dispute_can_raise_its_alert() {
    let shop = Shop::sqlite(router()).await;
    shop.handle(&dispute("funds_withdrawn", 0, "needs_response", 100)).await;
    assert_eq!(shop.rows(ALERTS).await, ["du_1 100"]);
    shop.handle(&dispute("created", 0, "needs_response", 100)).await;
    assert_eq!(shop.rows(ALERTS).await, ["du_1 100"]);
}

#[tokio::test]
async fn late_event_raises_no_alert() {
    let shop = Shop::sqlite(router()).await;
    shop.handle(&dispute("updated", 3, "under_review", 100)).await;
    shop.handle(&dispute("created", 0, "needs_response", 100)).await;
    shop.handle(&dispute("updated", 3, "needs_response", 100)).await;
    assert!(shop.rows(ALERTS).await.is_empty());
    assert_eq!(shop.rows(DISPUTES).await, ["du_1 under_review"]);
}

#[tokio::test]
async fn alert_is_logged_once_with_its_due_date() {
    let shop = Shop::sqlite(router()).await;
    log(LevelFilter::WARN);
    shop.handle(&dispute("created", 0, "needs_response", 1_796_119_200)).await;
    let logged_alert = logged();
    assert_eq!(logged_alert.matches("submit evidence before the due date").count(), 1);
    assert!(logged_alert.contains(r#"due_by="2026-12-01T10:00:00Z""#), "{logged_alert}");
    shop.handle(&dispute("updated", 1, "needs_response", 1_796_119_200)).await;
    assert_eq!(logged(), "");
    // The year of this date has five digits.
    shop.handle(&dispute("updated", 2, "needs_response", 999_999_999_999)).await;
    assert!(logged().contains(r#"due_by="""#));
}
