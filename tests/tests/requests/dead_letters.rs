//! Dead letters: the sink stores each permanent failure.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use router_core::{
    BoxError, Event, Failure, Outcome, Router,
    dead_letters::{DeadLetter, DeadLetterFile, DeadLetters},
    handler::Report,
    testing::ManualClock,
};
use router_tests::{event, now, payload, payload_with_id};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const PAID: &str = "invoice.paid";

async fn deliver(router: &Router, body: String) -> Report {
    let event = event(body).expect("the body is an event");
    router.clone().oneshot(event).await.expect("the router is not closed")
}

fn router(sink: impl DeadLetters) -> Router {
    let permanent = async |_: Event| Err::<(), _>(Failure::permanent("no such order"));
    let clock = ManualClock::at(now());
    let builder = Router::builder().handler("orders.fulfil", [PAID], permanent);
    builder.dead_letters(sink).clock(clock).build().expect("the router is valid")
}

/// An empty folder for one test.
struct TestFolder(PathBuf);

impl TestFolder {
    fn new(test: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("the target folder is writable");
        Self(folder)
    }

    /// Returns the lines of `dead.jsonl`; a line that is not JSON is null.
    fn lines(&self) -> Vec<Value> {
        let text =
            fs::read_to_string(self.0.join("dead.jsonl")).expect("the dead-letter file exists");
        assert!(text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap_or(Value::Null)).collect()
    }
}

#[tokio::test]
async fn dead_letter_line_has_the_original_payload() {
    let folder = TestFolder::new("lines");
    let router = router(DeadLetterFile::open(folder.0.join("dead.jsonl")).unwrap());
    // Unusual white space shows that the payload is not serialized again.
    let versioned = payload(PAID).replacen('{', r#"{"api_version":"2024-06-20","#, 1);
    let body = versioned.replace(":", " :\n\t");
    let report = deliver(&router, body.clone()).await;
    assert_eq!(report.outcome(), "dead");
    deliver(&router, payload_with_id("evt_2", PAID)).await;
    let lines = folder.lines();
    let first = json!({
        "at": "2023-11-14T22:13:20.000000000Z", "event": "evt_1", "type": PAID,
        "endpoint": "default", "account": null, "api_version": "2024-06-20",
        "handler": "orders.fulfil", "attempts": 1,
        "error": "no such order", "payload": body,
    });
    assert_eq!(lines[0], first);
    assert_eq!(lines[1]["event"], "evt_2");
    assert_eq!(lines.len(), 2);
    // The handler starts over if the event is sent again, and its second failure adds a line.
    assert_eq!(deliver(&router, body).await.outcome(), "dead");
    let lines = folder.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2], first);
}

#[tokio::test]
async fn truncated_line_does_not_corrupt_the_next() {
    let folder = TestFolder::new("torn");
    let file = folder.0.join("dead.jsonl");
    fs::write(&file, r#"{"event":"evt_0"}"#.to_owned() + "\n" + r#"{"event":"evt_1","pay"#)
        .unwrap();
    let router = router(DeadLetterFile::open(&file).unwrap());
    deliver(&router, payload_with_id("evt_2", PAID)).await;
    let events: Vec<Value> = folder.lines().into_iter().map(|line| line["event"].clone()).collect();
    assert_eq!(events, [json!("evt_0"), Value::Null, json!("evt_2")]);
}

#[tokio::test]
async fn file_is_recreated_after_rotation() {
    let folder = TestFolder::new("rotated");
    let file = folder.0.join("dead.jsonl");
    let router = router(DeadLetterFile::open(&file).unwrap());
    deliver(&router, payload_with_id("evt_1", PAID)).await;
    fs::rename(&file, folder.0.join("dead.1.jsonl")).unwrap();
    deliver(&router, payload_with_id("evt_2", PAID)).await;
    assert_eq!(folder.lines().len(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn file_is_readable_only_by_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = TestFolder::new("owner");
    let file = folder.0.join("dead.jsonl");
    deliver(&router(DeadLetterFile::open(&file).unwrap()), payload(PAID)).await;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn open_fails_with_the_path_if_folder_is_missing() {
    let folder = TestFolder::new("nowhere");
    let error = DeadLetterFile::open(folder.0.join("no/such/dead.jsonl")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("no/such/dead.jsonl"), "{error}");
}

#[tokio::test]
async fn dead_letter_is_retried_until_file_is_writable() {
    let folder = TestFolder::new("gone");
    let file = folder.0.join("sub/dead.jsonl");
    fs::create_dir(folder.0.join("sub")).unwrap();
    let router = router(DeadLetterFile::open(&file).unwrap());
    fs::remove_dir_all(folder.0.join("sub")).unwrap();
    let report = deliver(&router, payload(PAID)).await;
    assert_eq!(report.outcome(), "retry");
    let failure = report.handlers()[0].result().unwrap_err().to_string();
    assert!(failure.contains("dead-letter") && failure.contains("no such order"), "{failure}");

    fs::create_dir(folder.0.join("sub")).unwrap();
    let report = deliver(&router, payload(PAID)).await;
    assert_eq!((report.outcome(), report.handlers()[0].attempts()), ("dead", 2));
    assert!(file.exists());
}

/// A sink that is full for the given number of calls, then accepts dead letters.
struct FullSink(AtomicU32);

#[async_trait::async_trait]
impl DeadLetters for FullSink {
    async fn store(&self, _: &DeadLetter<'_>) -> Result<(), BoxError> {
        let failures_left = self.0.load(Relaxed);
        self.0.store(failures_left.saturating_sub(1), Relaxed);
        if failures_left > 0 { Err("full".into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn handler_reruns_until_dead_letter_is_stored() {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let handler = move |_: Event| {
        counter.fetch_add(1, Relaxed);
        std::future::ready(Err::<Outcome, _>(Failure::permanent("never")))
    };
    let router = Router::builder()
        .handler("a", ["*"], handler)
        .dead_letters(FullSink(AtomicU32::new(2)))
        .build()
        .unwrap();
    // The third answer is 200, so the fourth delivery was sent by a person and starts over.
    for (outcome, attempts, runs) in
        [("retry", 1, 1), ("retry", 2, 2), ("dead", 3, 3), ("dead", 1, 4)]
    {
        let report = deliver(&router, payload(PAID)).await;
        assert_eq!((report.outcome(), report.handlers()[0].attempts()), (outcome, attempts));
        assert_eq!(calls.load(Relaxed), runs);
    }
}
