//! The status of an inbox with many rows.

use router_inbox::{
    Store as _,
    store::{Operations as _, Stored},
};

use super::TestInbox;
use crate::support::paid;

/// PostgreSQL would have to read all rows to count them.
#[tokio::test]
async fn status_estimates_large_tables() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_first")]).await.unwrap();
    inbox
        .execute(
            "alter table inbox.events disable trigger all;
             insert into inbox.events (id, identity, endpoint, event_id, generation, type, object, payload, stored_at)
             select inbox.next_event_ids(1), number::text::bytea, 'default', 'evt_' || number, 0, 'invoice.paid', 'in_1', '', 0
             from generate_series(1, 150000) number;
             alter table inbox.events enable trigger all;
             insert into inbox.unhandled select id from inbox.events where id > 120001;
             insert into inbox.deliveries (id, event, handler, due, state, ended_at)
             select id * 1024, id, 'a', 0, 2, 0 from inbox.events where event_id <> 'evt_first' and id <= 120001;
             analyze inbox.events, inbox.deliveries, inbox.unhandled",
        )
        .await;
    let status = inbox.store.status().await.unwrap();
    let is_about = |estimate: u64, number: u64| {
        assert!(
            estimate.abs_diff(number) < number / 20,
            "{estimate}, not about {number}: {status:?}"
        );
    };
    is_about(status.events, 150_001);
    is_about(status.finished, 120_000);
    assert_eq!((status.unhandled, status.handlers[0].waiting.number), (30_000, 1));
    // A table that was never analyzed is reported as having at least the number of rows counted.
    inbox
        .execute(
            "update pg_class set reltuples = -1, relpages = 0 where oid = 'inbox.events'::regclass",
        )
        .await;
    assert_eq!(inbox.store.status().await.unwrap().events, 100_001);
    assert_eq!(inbox.store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
}
