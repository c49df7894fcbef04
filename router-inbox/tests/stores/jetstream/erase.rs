//! Erased data in the messages and files of the server, and erasures that are delayed.

use std::{fs, path::Path, sync::Arc, time::Duration};

use async_nats::jetstream::{consumer::OrderedPullConsumer, consumer::pull::OrderedConfig};
use futures_util::StreamExt as _;
use router_core::{
    Event,
    clock::{Clock as _, SystemClock},
    testing::SyntheticEvent,
};
use router_inbox::{
    JetStreamStore, Store as _,
    conformance::Subject as _,
    operations::{
        Change, ChangeOutcome, EraseOutcome, EventSelector, ListFilter, MIN_RETENTION, ReplayResult,
    },
    store::{DeliveryOutcome, NewDelivery, NewEvent, Operations as _, Redelivery, Stored},
};
use router_test_servers::nats::{self, Server};
use tempfile::TempDir;

use super::{TestInbox, holding_proxy::HoldingProxy, operator};
use crate::support::wanted;

/// The data to erase.
const NAME: &str = "Jenny Rosen 7c1e";

/// A header of the last message of each atomic batch.
const COMMIT: &str = "Nats-Batch-Commit";

/// An event with the name, which has deliveries for these handlers.
fn named(id: &str, handlers: &[&str]) -> NewEvent {
    new(SyntheticEvent::new("customer.created").id(id).set("name", NAME), handlers)
}

fn new(event: SyntheticEvent, handlers: &[&str]) -> NewEvent {
    let event: Event = event.build().expect("the event type is in the catalog").event().clone();
    NewEvent::new(event, handlers.iter().map(|handler| NewDelivery::new(*handler)).collect())
}

async fn number(store: &JetStreamStore, id: &str) -> i64 {
    let of_id = EventSelector { event_id: Some(id.into()), ..EventSelector::default() };
    store.select(&of_id).await.expect("the server runs")[0]
}

/// Stores an event with the name, completes its delivery, and returns its number.
async fn completed(store: &JetStreamStore, id: &str, outcome: DeliveryOutcome) -> i64 {
    store.store(&[named(id, &["a"])]).await.expect("the server runs");
    complete(store, outcome).await;
    number(store, id).await
}

async fn complete(store: &JetStreamStore, outcome: DeliveryOutcome) {
    let claims = store.claim(&wanted(1)).await.expect("the server runs");
    store.complete(&[(claims[0].lease.clone(), outcome)]).await.expect("the server runs");
}

fn dead() -> DeliveryOutcome {
    DeliveryOutcome::Dead { error: format!("no account for {NAME}") }
}

/// After the erasure, neither a header nor a payload of the stream's messages has the data, which
/// was in all generations, in a redelivered payload, and in errors.
#[tokio::test]
async fn no_message_contains_erased_data() {
    let Some(inbox) = TestInbox::create().await else { return };
    let store = &*inbox.store;
    store.store(&[named("evt_1", &["a"])]).await.unwrap();
    let wait = Duration::ZERO;
    complete(store, DeliveryOutcome::Retry { wait, error: format!("{NAME} is unknown") }).await;
    complete(store, dead()).await;
    let again = SyntheticEvent::new("customer.created").id("evt_1").set("name", NAME);
    let again = new(again.api_version("2025-01-27.acacia"), &["a"]);
    let restarted = Stored::Redelivered(vec![Redelivery::Restarted]);
    assert_eq!(store.store(&[again]).await.unwrap(), [restarted]);
    complete(store, dead()).await;
    let number = number(store, "evt_1").await;
    store.replay(&[number], &[]).await.unwrap();
    complete(store, dead()).await;
    assert_eq!(store.show("evt_1").await.unwrap().len(), 2);
    assert_eq!(messages_with(&inbox, NAME).await.len(), 5, "three payloads and two records");
    assert_eq!(store.erase(&[number]).await.unwrap()[0].outcome, EraseOutcome::Erased);
    assert_eq!(messages_with(&inbox, NAME).await, [""; 0]);
    assert_eq!(store.show("evt_1").await.unwrap()[0].redelivered.len(), 1);
}

/// Returns the subjects of the stream's messages that contain the text.
async fn messages_with(inbox: &TestInbox, text: &str) -> Vec<String> {
    let context = operator(nats::shared().expect("the server runs")).await;
    let stream = context.get_stream(inbox.url.rsplit('/').next().expect("URL has a path")).await;
    let mut stream = stream.expect("the stream exists");
    let all = stream.info().await.expect("the server runs").state.messages;
    let reader = stream.create_consumer(OrderedConfig::default()).await;
    let reader: OrderedPullConsumer = reader.expect("the server runs");
    let mut messages = reader.messages().await.expect("the server runs");
    let mut found = Vec::new();
    for _ in 0..all {
        let message = messages.next().await.expect("messages remain").expect("the server runs");
        let payload = String::from_utf8_lossy(&message.payload);
        if payload.contains(text) || format!("{:?}", message.headers).contains(text) {
            found.push(message.subject.to_string());
        }
    }
    found
}

/// An erased event keeps its number and its place among the others, although its message is newer
/// than those of younger events.
#[tokio::test]
async fn erased_event_is_selected_by_its_age() {
    let Some(inbox) = TestInbox::create().await else { return };
    let store = &*inbox.store;
    let mut old = Vec::new();
    for id in ["evt_1", "evt_2", "evt_3"] {
        old.push(completed(store, id, DeliveryOutcome::Done).await);
    }
    inbox.pass(MIN_RETENTION).await;
    let young = completed(store, "evt_young", DeliveryOutcome::Done).await;
    let results = store.erase(&[old[1], young, young]).await.unwrap();
    let outcomes: Vec<_> = results.iter().map(|result| result.outcome).collect();
    let (erased, again) = (EraseOutcome::Erased, EraseOutcome::AlreadyErased);
    assert_eq!(outcomes, [erased, erased, again]);
    assert_eq!(number(store, "evt_2").await, old[1]);
    let select = async |min_age, max_age| {
        let ages = EventSelector { min_age, max_age, ..EventSelector::default() };
        store.select(&ages).await.unwrap()
    };
    assert_eq!(select(Some(MIN_RETENTION), None).await, old);
    assert_eq!(select(None, Some(MIN_RETENTION / 2)).await, [young]);
    assert_eq!(select(None, None).await, [&*old, &[young]].concat());
    assert_eq!(store.purge(&old, MIN_RETENTION).await.unwrap(), 3);
    assert_eq!(select(None, None).await, [young]);
}

/// A replay, a redelivery or a retry that has read the event before an erasure, and reaches the
/// server after it, is refused and decided again.
#[tokio::test]
async fn delayed_write_does_not_revive_erased_event() {
    let Some(inbox) = TestInbox::create().await else { return };
    for (id, outcome) in [
        ("evt_replay", DeliveryOutcome::Done),
        ("evt_redelivery", DeliveryOutcome::Done),
        ("evt_retry", dead()),
    ] {
        let number = completed(&inbox.store, id, outcome).await;
        let filter = ListFilter { limit: 9, ..ListFilter::of_event(id, None) };
        let selected = inbox.store.select_deliveries(&filter).await.unwrap();
        let (other, proxy) = HoldingProxy::connect(&inbox, COMMIT).await;
        let writing = tokio::spawn(async move {
            match id {
                "evt_replay" => {
                    let replayed = other.replay(&[number], &[]).await.unwrap();
                    assert_eq!(replayed, [ReplayResult::Erased { event_id: id.into() }]);
                }
                "evt_redelivery" => {
                    let stored = other.store(&[named(id, &["new"])]).await.unwrap();
                    assert_eq!(stored, [Stored::Redelivered(vec![Redelivery::Erased])]);
                }
                _ => {
                    let changed = other.change(&selected, Change::Retry).await.unwrap();
                    assert_eq!(changed, [ChangeOutcome::Erased]);
                }
            }
        });
        proxy.held.notified().await;
        assert_eq!(
            inbox.store.erase(&[number]).await.unwrap()[0].outcome,
            EraseOutcome::Erased,
            "{id}"
        );
        proxy.resume.notify_one();
        writing.await.unwrap();
        let shown = inbox.store.show(id).await.unwrap();
        assert_eq!((shown.len(), shown[0].is_erased()), (1, true), "{shown:?}");
    }
    assert_eq!(messages_with(&inbox, NAME).await, [""; 0]);
}

/// An erasure that has read the event before it was replayed, redelivered or retried, and reaches
/// the server after that, is refused and decided again.
#[tokio::test]
async fn delayed_erasure_spares_unfinished_event() {
    let Some(inbox) = TestInbox::create().await else { return };
    let store = &*inbox.store;
    for (id, outcome) in [
        ("evt_replay", DeliveryOutcome::Done),
        ("evt_redelivery", DeliveryOutcome::Done),
        ("evt_retry", dead()),
    ] {
        let number = completed(store, id, outcome).await;
        let (other, proxy) = HoldingProxy::connect(&inbox, COMMIT).await;
        let erasing = tokio::spawn(async move { other.erase(&[number]).await.unwrap() });
        proxy.held.notified().await;
        match id {
            "evt_replay" => drop(store.replay(&[number], &[]).await.unwrap()),
            "evt_redelivery" => drop(store.store(&[named(id, &["new"])]).await.unwrap()),
            _ => drop(store.retry(id, None).await.unwrap()),
        }
        proxy.resume.notify_one();
        assert_eq!(erasing.await.unwrap()[0].outcome, EraseOutcome::Unfinished, "{id}");
        let shown = store.show(id).await.unwrap();
        assert!(shown.iter().all(|event| !event.is_erased()), "{shown:?}");
        store.discard(id, None).await.unwrap();
        assert_eq!(store.erase(&[number]).await.unwrap()[0].outcome, EraseOutcome::Erased, "{id}");
    }
    assert_eq!(messages_with(&inbox, NAME).await, [""; 0]);
}

/// The server's files have no erased data once the server has compacted them. It compacts a closed
/// file if less than half of the file is in use.
#[tokio::test]
async fn compacted_files_do_not_contain_erased_data() {
    /// Enough events to begin a second file.
    const EVENTS: usize = 160;
    let folder = TempDir::new().unwrap();
    let lines = format!("store_dir: \"{}\"\nsync_interval: 500ms", folder.path().display());
    let Some(server) = Server::start_with("", &lines) else { return };
    let store = Arc::new(JetStreamStore::connect(&server.url()).await.unwrap());
    let padding = "x".repeat(60_000);
    let mut events = vec![named("evt_named", &[])];
    for n in 0..EVENTS {
        let event = SyntheticEvent::new("customer.created").id(format!("evt_{n}"));
        events.push(new(event.set("description", &*padding), &[]));
    }
    for events in events.chunks(20) {
        store.store(events).await.unwrap();
    }
    assert!(contains(folder.path(), NAME), "the test reads the files");
    let mut all = store.select(&EventSelector::default()).await.unwrap();
    // A file without any message in use would be deleted at once.
    all.remove(1);
    let results = store.erase(&all).await.unwrap();
    let erased = results.iter().filter(|result| result.outcome == EraseOutcome::Erased);
    assert_eq!(erased.count(), EVENTS);
    let began = SystemClock.monotonic();
    while contains(folder.path(), NAME) {
        assert!(SystemClock.monotonic() - began < Duration::from_secs(30), "not compacted");
        SystemClock.sleep(Duration::from_millis(50)).await;
    }
}

/// Returns whether a file in the folder contains the text.
fn contains(folder: &Path, text: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths = entries.map(|entry| entry.path());
    paths.any(|path| match path.is_dir() {
        true => contains(&path, text),
        // The server may have deleted the file in the meantime.
        false => fs::read(path)
            .is_ok_and(|file| file.windows(text.len()).any(|window| window == text.as_bytes())),
    })
}
