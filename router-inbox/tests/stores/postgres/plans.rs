//! The rows that statements read.

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{PostgresStore, Store as _};
use sqlx::Row as _;

use super::TestInbox;
use crate::support::paid;

/// PostgreSQL has no statistics about a new inbox, and guesses that a handler has few deliveries. It
/// must not read all of them for each redelivered event.
#[tokio::test]
async fn redelivery_reads_deliveries_of_its_events() {
    const EVENTS: usize = 1_000;
    let Some(inbox) = TestInbox::create().await else { return };
    let events: Vec<_> = (0..EVENTS).map(|number| paid(&format!("evt_{number}"))).collect();
    let session = format!("{}_again", inbox.schema);
    let url = inbox.url.replace(&inbox.schema, &session);
    let other = PostgresStore::options().schema(&inbox.schema).connect(&url).await.unwrap();
    other.store(&events).await.unwrap();
    // A redelivery of finished deliveries reads once.
    inbox.execute("update inbox.deliveries set state = 2, ended_at = 0").await;
    other.store(&events).await.unwrap();
    drop(other);
    // A session reports what it read when it ends, at the latest.
    let is_open = "select exists (select from pg_stat_activity where application_name = $1)";
    while sqlx::query_scalar(is_open).bind(&session).fetch_one(&inbox.database).await.unwrap() {
        SystemClock.sleep(Duration::from_millis(10)).await;
    }
    let read = "select seq_tup_read, idx_scan from pg_stat_user_tables
                where schemaname = $1 and relname = 'deliveries'";
    let read = sqlx::query(read).bind(&inbox.schema).fetch_one(&inbox.database).await.unwrap();
    let [by_scan, by_index] = [0, 1].map(|column| read.get::<i64, _>(column) as usize);
    assert!(by_index >= EVENTS, "{by_index}");
    assert!(by_scan < 20 * EVENTS, "{by_scan} rows of deliveries were read by sequential scans");
}
