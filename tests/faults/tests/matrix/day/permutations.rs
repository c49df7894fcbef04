//! The mirror of Stripe's objects ends in the newest states, whatever the order of the events.

use router_core::event::Recency;
use router_inbox::sqlx::{self, Connection as _, Row as _, SqlitePool, sqlite::SqlitePoolOptions};
use serde::Deserialize;
use shop::{
    current::Current,
    database::{Connection, migrate_sqlite},
    mirror,
};

use super::{
    assert_same,
    ledger::{Ledger, TABLES},
    orders,
};
use crate::seeded_rng;

const PERMUTATIONS: usize = 1_000;

#[derive(Deserialize)]
struct Identity {
    id: String,
    object: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn mirror_has_newest_states_after_every_permutation_of_a_scenario() {
    let mut rng = seeded_rng();
    let (_, query) =
        TABLES.into_iter().find(|(table, _)| *table == "stripe_objects").expect("table is listed");
    let pool = in_memory().await;
    for order in orders::place(1, &mut rng).await {
        let ledger = Ledger::new(std::slice::from_ref(&order));
        let decoded = order.events.iter().filter_map(|event| {
            let event = event.event();
            // An upcoming invoice has no id.
            let identity: Identity = event.decode_object().ok()?;
            let object = event.decode_object().expect("any object is raw JSON");
            Some((event, identity, Current { object, is_fetched: false }))
        });
        let mut decoded: Vec<_> = decoded.collect();
        for _ in 0..PERMUTATIONS {
            rng.shuffle(&mut decoded);
            let mut connection = pool.acquire().await.expect("connection is free");
            let mut transaction = connection.begin().await.expect("connection is free");
            for (event, Identity { id, object }, current) in &decoded {
                let recency = Recency::from_event(event).expect("event has a time");
                let mut connection = Connection::Sqlite(&mut transaction);
                let written =
                    mirror::write(&mut connection, event, recency, (id, object), current).await;
                drop(written.expect("statement is valid"));
            }
            let rows = sqlx::query(query).fetch_all(&mut *transaction).await;
            let rows = rows.expect("query is valid").iter().map(|row| row.get(0)).collect();
            assert_same(order.scenario, &ledger.rows["stripe_objects"], rows);
            transaction.rollback().await.expect("transaction is open");
        }
    }
}

/// Creates a database in memory, which has a single connection.
async fn in_memory() -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await;
    let pool = pool.expect("memory is available");
    migrate_sqlite(&pool).await.expect("tables are new");
    pool
}
