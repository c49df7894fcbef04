//! Every order of arrival leads to the same rows.

use std::time::{Duration, UNIX_EPOCH};

use router_core::{
    Event,
    event::Recency,
    testing::{Payload, SyntheticEvent},
};
use shop::{
    current::Current,
    database::{self, Connection},
    mirror, subscriptions,
};
use sqlx::{Connection as _, Row as _, SqliteConnection, SqlitePool};

/// Sequences as `event-router scenario` sends them, without the events of other objects. The number
/// is the time in seconds, and the last text the status.
const SCENARIOS: [&[(&str, u64, Option<&str>)]; 6] = [
    &[
        ("customer.created", 0, None),
        ("payment_method.attached", 0, None),
        ("customer.subscription.created", 0, Some("incomplete")),
        ("invoice.created", 0, Some("draft")),
        ("invoice.finalized", 0, Some("open")),
        ("payment_intent.created", 0, None),
        ("charge.succeeded", 5, None),
        ("payment_intent.succeeded", 5, None),
        ("invoice.paid", 5, Some("paid")),
        ("invoice.payment_succeeded", 5, Some("paid")),
        ("customer.subscription.updated", 5, Some("active")),
        ("invoice.upcoming", 90, None),
        ("customer.subscription.updated", 90, Some("past_due")),
        ("customer.subscription.deleted", 90, Some("canceled")),
    ],
    &[
        ("payment_intent.created", 0, None),
        ("customer.created", 20, None),
        ("charge.succeeded", 21, None),
        ("payment_intent.succeeded", 21, None),
        ("checkout.session.completed", 21, None),
        ("charge.updated", 21, None),
    ],
    &[
        ("payment_intent.created", 0, None),
        ("charge.pending", 1, Some("pending")),
        ("payment_intent.processing", 1, None),
        ("checkout.session.completed", 1, None),
        ("charge.succeeded", 90, None),
        ("payment_intent.succeeded", 90, None),
        ("checkout.session.async_payment_succeeded", 90, None),
    ],
    &[
        ("payment_intent.created", 0, None),
        ("charge.pending", 1, Some("pending")),
        ("payment_intent.processing", 1, None),
        ("checkout.session.completed", 1, None),
        ("charge.failed", 90, None),
        ("payment_intent.payment_failed", 90, None),
        ("checkout.session.async_payment_failed", 90, None),
    ],
    &[
        ("payment_intent.created", 0, None),
        ("charge.succeeded", 5, None),
        ("payment_intent.succeeded", 5, None),
        ("refund.created", 9, Some("pending")),
        ("charge.refunded", 9, None),
        ("refund.updated", 9, Some("succeeded")),
        ("refund.updated", 9, Some("failed")),
    ],
    &[
        ("payment_intent.created", 0, None),
        ("charge.succeeded", 5, None),
        ("charge.dispute.created", 14, None),
        ("charge.dispute.funds_withdrawn", 14, None),
        ("charge.dispute.updated", 14, Some("under_review")),
        ("charge.dispute.closed", 14, Some("won")),
        ("charge.dispute.funds_reinstated", 14, Some("won")),
    ],
];

fn events(scenario: &[(&str, u64, Option<&str>)]) -> Vec<Payload> {
    let event = |(index, (event_type, seconds, status)): (usize, &(&str, u64, Option<&str>))| {
        let created = UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
        let event = SyntheticEvent::new(*event_type).created(created).id(format!("evt_{index}"));
        let event = match status {
            Some(status) => event.set("status", status),
            None => event,
        };
        event.build().expect("the scenario is valid")
    };
    scenario.iter().enumerate().map(event).collect()
}

fn recency(event: &Event) -> Recency {
    Recency::from_event(event).expect("the event has a time")
}

async fn memory() -> SqlitePool {
    let one = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    let pool = one.connect("sqlite::memory:").await.expect("memory is available");
    database::migrate_sqlite(&pool).await.expect("the tables are new");
    pool
}

async fn rows(connection: &mut SqliteConnection, query: &'static str) -> Vec<String> {
    let rows = sqlx::query(query).fetch_all(connection).await.expect("the table exists");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn mirror_is_the_same_after_every_permutation() {
    #[derive(serde::Deserialize)]
    struct Identity {
        id: String,
        object: String,
    }
    const ROWS: &str = "select concat(id, ' ', object, ' ', recency, ' ', deleted, ' ', data) \
                        from stripe_objects order by id";
    let pool = memory().await;
    let mut random = fastrand::Rng::with_seed(7);
    for scenario in SCENARIOS {
        let events = events(scenario);
        let decoded = events.iter().filter_map(|payload| {
            let event = payload.event();
            let identity: Identity = event.decode_object().ok()?;
            let object = event.decode_object().expect("any object is raw JSON");
            Some((event, identity, Current { object, is_fetched: false }))
        });
        let mut decoded: Vec<_> = decoded.collect();
        let mut first: Option<Vec<String>> = None;
        for _ in 0..1_000 {
            random.shuffle(&mut decoded);
            let mut connection = pool.acquire().await.expect("the connection is free");
            let mut write = connection.begin().await.expect("the connection is free");
            for (event, Identity { id, object }, current) in &decoded {
                let mut connection = Connection::Sqlite(&mut write);
                let (recency, identity) = (recency(event), (&**id, &**object));
                let written = mirror::write(&mut connection, event, recency, identity, current);
                drop(written.await.expect("the statement is valid"));
            }
            let table = rows(&mut write, ROWS).await;
            write.rollback().await.expect("the transaction is open");
            assert!(!table.is_empty());
            let first = first.get_or_insert_with(|| table.clone());
            assert!(*first == table, "{first:#?}\n{table:#?}");
        }
    }
}

#[tokio::test]
async fn subscription_is_the_same_after_every_permutation() {
    let pool = memory().await;
    let changes: [(&str, u64, Option<&str>); 6] = [
        ("customer.subscription.created", 0, Some("incomplete")),
        ("customer.subscription.updated", 0, Some("active")),
        ("customer.subscription.updated", 9, Some("past_due")),
        // In one second.
        ("customer.subscription.updated", 20, Some("active")),
        ("customer.subscription.updated", 20, Some("unpaid")),
        ("customer.subscription.trial_will_end", 20, Some("unpaid")),
    ];
    let deleted = ("customer.subscription.deleted", 20, Some("canceled"));
    let ended = [&changes[..5], &[deleted]].concat();
    for (changes, expected) in [(&changes[..], "unpaid 0 evt_5"), (&ended, "canceled 1 evt_5")] {
        let events = events(changes);
        let mut order: Vec<usize> = (0..events.len()).collect();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1_000 {
            random.shuffle(&mut order);
            let mut connection = pool.acquire().await.expect("the connection is free");
            let mut write = connection.begin().await.expect("the connection is free");
            for index in order.iter().chain(&order) {
                let event = events[*index].event();
                let object = event.decode_object().expect("a subscription");
                let current = Current { object, is_fetched: false };
                let mut connection = Connection::Sqlite(&mut write);
                let written =
                    subscriptions::write(&mut connection, event, recency(event), &current);
                drop(written.await.expect("the statement is valid"));
            }
            let query = "select concat(status, ' ', deleted, ' ', event) from subscriptions";
            let table = rows(&mut write, query).await;
            write.rollback().await.expect("the transaction is open");
            assert_eq!(table, [expected], "{order:?}");
        }
    }
}
