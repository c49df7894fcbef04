//! Promises about checkpoints.

use std::slice::from_ref;

use tokio::task::JoinSet;

use super::{super::processes::reopen, event_number, read_status, store_completed};
use crate::{
    StoreError,
    conformance::Subject,
    operations::{EraseOutcome, InvalidCheckpoint, MAX_CHECKPOINT, MIN_RETENTION},
    store::{DeliveryOutcome, Operations, StoreErrorKind},
};

async fn read(store: &impl Operations, name: &str) -> Option<String> {
    store.checkpoint(name).await.expect("store is available")
}

async fn set(store: &impl Operations, name: &str, value: &str) {
    store.set_checkpoint(name, value).await.expect("store is available");
}

/// A checkpoint is absent until it is set. Every process that has opened the store, before or
/// afterwards, reads the latest value. Another checkpoint has a value of its own.
pub async fn checkpoint_has_the_latest_value(subject: &impl Subject<Store: Operations>) {
    let (store, earlier) = (subject.store(), subject.reopen().await);
    assert_eq!(read(store, "a").await, None);
    set(store, "a", "2026-01-02T03:04:05Z").await;
    assert_eq!(read(store, "a").await.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!(read(&earlier, "a").await.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!(read(store, "b").await, None);
    set(&earlier, "b", "of b").await;
    // An older value, a repeated one and an empty one replace the latest, too.
    for value in ["1", "0", "0", ""] {
        set(&earlier, "a", value).await;
        let later = subject.reopen().await;
        for store in [store, &earlier, &later] {
            assert_eq!(read(store, "a").await.as_deref(), Some(value));
            assert_eq!(read(store, "b").await.as_deref(), Some("of b"));
        }
    }
}

/// Checkpoints are different if their names differ in any way. A value is read as it was set.
pub async fn checkpoints_with_unusual_names_are_distinct(
    subject: &impl Subject<Store: Operations>,
) {
    let short = [
        "",
        " ",
        "a",
        "A",
        "a ",
        "a.b",
        "a/b",
        "a b",
        "a.*",
        "a.>",
        "*",
        ">",
        ".",
        "..",
        "=a",
        "ä",
        "a\u{308}",
        "💶",
        "it's",
        "100%_\\",
        "\"[{",
        "null",
        "stripe-events/v1/default/self",
    ];
    let long = [
        "a".repeat(120),
        "a".repeat(121),
        "a".repeat(MAX_CHECKPOINT),
        format!("{}b", "a".repeat(MAX_CHECKPOINT - 1)),
    ];
    let names: Vec<String> = short.into_iter().map(str::to_owned).chain(long).collect();
    let value = |index: usize| names[(index + 1) % names.len()].as_str();
    for (index, name) in names.iter().enumerate() {
        assert_eq!(read(subject.store(), name).await, None, "{name:?}");
        set(subject.store(), name, value(index)).await;
    }
    let store = subject.reopen().await;
    for (index, name) in names.iter().enumerate() {
        assert_eq!(read(&store, name).await.as_deref(), Some(value(index)), "{name:?}");
    }
}

/// A name or a value that is too long or has a control character is an error of the kind `Misuse`,
/// and changes nothing. The limit is in bytes.
pub async fn checkpoint_limits_are_enforced(subject: &impl Subject<Store: Operations>) {
    let store = subject.store();
    let longest = format!("{}a", "ä".repeat(MAX_CHECKPOINT / 2));
    assert_eq!(longest.len(), MAX_CHECKPOINT);
    set(store, &longest, &longest).await;
    assert_eq!(read(store, &longest).await.as_ref(), Some(&longest));
    set(store, "a", "valid").await;
    let too_long = "has 256 bytes, and the limit is 255; shorten it";
    let invalid = [
        ("ä".repeat(128), too_long),
        ("a".repeat(256), too_long),
        ("a\0".to_owned(), "has the control character U+0000 at byte 1; remove it"),
        ("\n".to_owned(), "has the control character U+000A at byte 0; remove it"),
        ("ä\u{7f}b".to_owned(), "has the control character U+007F at byte 2; remove it"),
        ("\u{85}".to_owned(), "has the control character U+0085 at byte 0; remove it"),
    ];
    for (text, problem) in invalid {
        let assert_refused = |part: &str, error: StoreError| {
            assert_eq!(error.kind(), StoreErrorKind::Misuse, "{text:?}");
            assert!(error.is::<InvalidCheckpoint>(), "{error:?}");
            assert_eq!(error.to_string(), format!("the {part} of a checkpoint {problem}"));
        };
        assert_refused("name", store.checkpoint(&text).await.expect_err("name is invalid"));
        let set = store.set_checkpoint(&text, "a").await;
        assert_refused("name", set.expect_err("name is invalid"));
        let set = store.set_checkpoint("a", &text).await;
        assert_refused("value", set.expect_err("value is invalid"));
        assert_eq!(read(store, "a").await.as_deref(), Some("valid"));
    }
}

/// A checkpoint is neither erased nor purged with the events, even if it has the name of an event
/// or of a handler. It is not counted as one of them.
pub async fn checkpoint_survives_erase_and_purge(subject: &impl Subject<Store: Operations>) {
    const NAMES: [&str; 3] = ["evt_1", "a", "self"];
    let store = subject.store();
    for name in NAMES {
        set(store, name, name).await;
    }
    store_completed(subject, "evt_1", "a", DeliveryOutcome::Done).await;
    let status = read_status(subject).await;
    assert_eq!((status.events, status.finished, status.handlers.len()), (1, 1, 1), "{status:?}");
    let number = event_number(subject, "evt_1").await;
    let erased = store.erase(from_ref(&number)).await.expect("store is available");
    assert_eq!(erased[0].outcome, EraseOutcome::Erased);
    subject.pass(MIN_RETENTION * 2).await;
    let purged = store.purge(&[number], MIN_RETENTION).await.expect("store is available");
    assert_eq!(purged, 1);
    for name in NAMES {
        assert_eq!(read(store, name).await.as_deref(), Some(name));
    }
}

/// If several processes set a checkpoint at once, every call succeeds. Readers see a whole value at
/// any time, and in the end the last value of one of the processes.
pub async fn concurrent_checkpoint_writers_leave_one_value(
    subject: &impl Subject<Store: Operations>,
) {
    const WRITES: usize = 5;
    let value = |process: usize, write: usize| format!("{process} {write}").repeat(40);
    set(subject.store(), "a", &value(0, 0)).await;
    let stores = reopen(subject, 8).await;
    let mut tasks = JoinSet::new();
    for (process, store) in stores.iter().cloned().enumerate() {
        tasks.spawn(async move {
            let mut values = Vec::new();
            for write in 0..WRITES {
                set(&*store, "a", &value(process, write)).await;
                values.push(read(&*store, "a").await.expect("checkpoint has been set"));
            }
            values
        });
    }
    let processes = 0..stores.len();
    let written: Vec<_> =
        processes.flat_map(|process| (0..WRITES).map(move |write| value(process, write))).collect();
    for read in tasks.join_all().await.concat() {
        assert!(written.contains(&read), "{read}");
    }
    let last = read(subject.store(), "a").await.expect("checkpoint has been set");
    let mut latest = (0..stores.len()).map(|process| value(process, WRITES - 1));
    assert!(latest.any(|value| value == last), "{last}");
    for store in stores {
        assert_eq!(read(&*store, "a").await.as_ref(), Some(&last));
    }
}
