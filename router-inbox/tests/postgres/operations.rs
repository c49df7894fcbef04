//! Operations on an inbox that is in use.

use std::{
    slice::from_ref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use router_core::{
    Event, delivery::DeliveryOrder::OldestFirst, event::StoredEvent, testing::SyntheticEvent,
};
use router_inbox::{
    Store as _,
    conformance::Subject as _,
    operations::{ChangeOutcome, EventSelector, ListFilter, ReplayResult},
    store::{DeliveryOutcome, DeliveryState, NewDelivery, NewEvent, Operations as _, Stored},
};
use tokio::task::JoinSet;

use crate::{
    TestInbox,
    support::{paid, updated, wanted},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Nothing deadlocks, at most one delivery of an object runs at a time, and all are handled in the
/// end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operations_on_busy_inbox_keep_promises() {
    const OBJECTS: usize = 3;
    const OLD: usize = 60;
    /// The number of old events that are retried, discarded and replayed repeatedly.
    const CHANGED: usize = 12;
    let Some(inbox) = TestInbox::create().await else { return };
    let old: Vec<_> = (0..OLD).map(|n| updated(&format!("evt_{n}"), n % OBJECTS)).collect();
    inbox.store.store(&old).await.unwrap();
    while let [claim, ..] = &inbox.store.claim(&wanted(1)).await.unwrap()[..] {
        inbox.store.complete(&[(claim.lease.clone(), DeliveryOutcome::Done)]).await.unwrap();
    }
    inbox.pass(DAY * 5).await;
    let running: Arc<[AtomicBool; OBJECTS]> = Arc::default();
    let (is_over, handled) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..2 {
        let (store, running) = (inbox.reopen().await, running.clone());
        let (is_over, handled) = (is_over.clone(), handled.clone());
        workers.spawn(async move {
            loop {
                let was_over = is_over.load(Ordering::SeqCst);
                let claims = store.claim(&wanted(2)).await.unwrap();
                if was_over && claims.is_empty() {
                    break;
                }
                let mut ends = Vec::new();
                for claim in claims {
                    let event = claim.event.unwrap();
                    let object: usize = event.object_id().unwrap().as_str()[4..].parse().unwrap();
                    assert!(!running[object].swap(true, Ordering::SeqCst), "two run at once");
                    tokio::task::yield_now().await;
                    running[object].store(false, Ordering::SeqCst);
                    let dead = DeliveryOutcome::Dead { error: "permanent".into() };
                    let end = if event.id().ends_with('2') { dead } else { DeliveryOutcome::Done };
                    ends.push((claim.lease, end));
                }
                store
                    .extend(&ends.iter().map(|(lease, _)| lease.clone()).collect::<Vec<_>>(), DAY)
                    .await
                    .unwrap();
                handled.fetch_add(ends.len(), Ordering::SeqCst);
                store.complete(&ends).await.unwrap();
            }
        });
    }
    let mut operators = JoinSet::new();
    for nth in 0..4 {
        let store = inbox.reopen().await;
        operators.spawn(async move {
            let (mut changed, mut purged) = (0, 0);
            for n in 0..60 {
                let id = format!("evt_{}", (n + nth) % CHANGED);
                match (n + nth) % 5 {
                    0 | 1 => {
                        // Stored by one operator and redelivered by the others. Those among them
                        // that are dead start over.
                        let new =
                            [n, n / 2].map(|n| updated(&format!("evt_{}", OLD + n), n % OBJECTS));
                        store.store(&new).await.unwrap();
                    }
                    2 => {
                        let retried = store.retry(&id, None).await.unwrap();
                        let discarded = store.discard(&id, Some("a")).await.unwrap();
                        let results = retried.iter().chain(&discarded);
                        changed += results
                            .filter(|result| result.change == ChangeOutcome::Applied)
                            .count();
                    }
                    3 => {
                        let mut events = store.select(&EventSelector::default()).await.unwrap();
                        events.truncate(CHANGED);
                        events.rotate_left(nth);
                        store.replay(&events, &[]).await.unwrap();
                    }
                    _ => {
                        let old =
                            EventSelector { min_age: Some(DAY * 4), ..EventSelector::default() };
                        let events = store.select(&old).await.unwrap();
                        // The first event is one of those that other operators change.
                        let events = events.iter().rev().take(3).chain(events.first());
                        let events: Vec<i64> = events.copied().collect();
                        purged += store.purge(&events, DAY * 4).await.unwrap();
                    }
                }
                store.status().await.unwrap();
            }
            (changed, purged)
        });
    }
    let counts = operators.join_all().await;
    is_over.store(true, Ordering::SeqCst);
    workers.join_all().await;
    let changed: usize = counts.iter().map(|(changed, _)| changed).sum();
    let purged: u64 = counts.iter().map(|(_, purged)| purged).sum();
    assert!(changed > 0 && purged > 0 && handled.load(Ordering::SeqCst) > 80, "{counts:?}");
    let status = inbox.store.status().await.unwrap();
    assert_eq!((status.handlers[0].waiting.number, status.handlers[0].running.number), (0, 0));
}

/// Each of several concurrent replays creates a generation of its own.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_replays_each_store_a_generation() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1"), paid("evt_2")]).await.unwrap();
    let mut events = inbox.store.select(&EventSelector::default()).await.unwrap();
    // One call also names the same event twice.
    events.push(events[0]);
    let mut tasks = JoinSet::new();
    for nth in 0..6 {
        let (store, mut events) = (inbox.reopen().await, events.clone());
        events.rotate_left(nth % 3);
        tasks.spawn(async move { store.replay(&events, &[]).await.unwrap() });
    }
    let results = tasks.join_all().await.into_iter().flatten();
    let mut generations: Vec<_> = results
        .map(|result| match result {
            ReplayResult::Replayed { event_id, generation, .. } => (event_id, generation),
            other => panic!("{other:?}"),
        })
        .collect();
    generations.sort();
    let shown = async |id| inbox.store.show(id).await.unwrap().len() as u32;
    let (first, second) = (shown("evt_1").await, shown("evt_2").await);
    assert_eq!((first + second, generations.len()), (20, 18));
    let all = |id: &str, last| (1..last).map(move |n| (id.to_owned(), n)).collect::<Vec<_>>();
    assert_eq!(generations, [all("evt_1", first), all("evt_2", second)].concat());
}

/// Texts that PostgreSQL cannot store or index do not prevent a retry.
#[tokio::test]
async fn event_with_any_text_supports_operations() {
    let Some(inbox) = TestInbox::create().await else { return };
    let store = &inbox.store;
    // Not repetitive, so that compression cannot shorten it.
    let long: String = (0..1_000).map(|n| format!("{:x}", 7_919_u64.pow(3) * n)).collect();
    for text in ["\0", &long] {
        let (id, object) = (format!("evt_{text}"), format!("cus_{text}"));
        let event = SyntheticEvent::new("customer.updated").id(&*id).set("id", &*object);
        let event = event.account(format!("acct_{text}")).build().unwrap().event().clone();
        let payload = String::from_utf8(event.payload().to_vec()).unwrap();
        let event_type = format!("customer.{text}");
        let payload = payload.replace("customer.updated", &event_type.replace('\0', "\\u0000"));
        let stored = StoredEvent { payload: payload.into(), ..StoredEvent::from_event(&event) };
        let event = Event::from_store(stored).unwrap();
        let deliveries = vec![NewDelivery::new("a\0").order(Some(OldestFirst))];
        store.store(&[NewEvent::new(event.clone(), deliveries)]).await.unwrap();
        let filters = [
            ListFilter { object: Some(object), ..ListFilter::default() },
            ListFilter { event_type: Some(event_type), ..ListFilter::default() },
            ListFilter { event_type: Some("customer.*".into()), ..ListFilter::default() },
            ListFilter { handler: Some("a\0".into()), ..ListFilter::default() },
        ];
        for filter in filters {
            let listed = store.list(&ListFilter { limit: 1, ..filter.clone() }).await.unwrap();
            assert_eq!(listed[0].event.id, id.replace('\0', "\u{2400}"), "{filter:?}");
        }
        let by_id = EventSelector { event_id: Some(id.clone()), ..EventSelector::default() };
        let number = store.select(&by_id).await.unwrap()[0];
        let replayed = store.replay(&[number], &["a\0".into()]).await.unwrap();
        let handlers = vec!["a\0".into()];
        assert_eq!(
            replayed,
            [ReplayResult::Replayed { event_id: id.clone(), generation: 1, handlers }]
        );
        let shown = store.show(&id).await.unwrap();
        let replay = StoredEvent { generation: 1, ..StoredEvent::from_event(&event) };
        assert_eq!(
            (&shown[0].stored, &shown[1].stored),
            (&StoredEvent::from_event(&event), &replay)
        );
        let discarded = store.discard(&id, Some("a\0")).await.unwrap();
        assert_eq!((discarded.len(), discarded[0].change), (2, ChangeOutcome::Applied));
        let retried = store.retry(&id, Some("a\0")).await.unwrap();
        assert_eq!((retried.len(), retried[0].delivery.state), (1, DeliveryState::Discarded));
        store.discard(&id, None).await.unwrap();
    }
}

/// Workers are notified of retried, unblocked and replayed deliveries, so they need not wait for
/// the next poll.
#[tokio::test]
async fn operations_notify_of_due_deliveries() {
    let Some(inbox) = TestInbox::create().await else { return };
    let operator = inbox.reopen().await;
    inbox.store.store(&[paid("evt_1"), updated("evt_2", 1), updated("evt_3", 1)]).await.unwrap();
    inbox.store.notified().await;
    let is_notified = async |change: &str| {
        tokio::select! {
            () = inbox.store.notified() => {}
            () = async {
                // An earlier notification arrives before the last of these queries returns.
                for _ in 0..200 { inbox.store.deliveries("evt_1").await.unwrap(); }
            } => panic!("no notification of the {change} delivery"),
        }
    };
    operator.retry("evt_1", None).await.unwrap();
    is_notified("retried").await;
    operator.discard("evt_2", None).await.unwrap();
    is_notified("unblocked").await;
    let events = operator.select(&EventSelector::default()).await.unwrap();
    operator.replay(from_ref(&events[0]), &[]).await.unwrap();
    is_notified("replayed").await;
}

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
