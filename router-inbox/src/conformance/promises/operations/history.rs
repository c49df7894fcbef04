//! Promises about the history of a delivery.

use std::{
    slice::from_ref,
    time::{Duration, SystemTime},
};

use super::{
    super::{
        LEASE, SECOND, claim_one, claim_request, complete, event, limits::unusual_texts,
        limits::without_nul, new, retry_in, store,
    },
    dead,
};
use crate::{
    Store as _,
    conformance::Subject,
    operations::{AttemptOutcome, AttemptSummary, MAX_ATTEMPT_ERROR, MAX_HISTORY},
    store::{Claim, DeliveryOutcome, Operations},
};

const MINUTE: Duration = Duration::from_secs(60);

/// Returns the history of the event's only delivery.
async fn history(subject: &impl Subject<Store: Operations>, id: &str) -> Vec<AttemptSummary> {
    let shown = subject.store().show(id).await.expect("store is available");
    assert_eq!((shown.len(), shown[0].deliveries.len()), (1, 1), "{shown:?}");
    shown[0].deliveries[0].history.clone()
}

/// Returns the number, the outcome, the error and the worker of each attempt.
fn facts(history: &[AttemptSummary]) -> Vec<(u32, AttemptOutcome, Option<&str>, Option<&str>)> {
    let facts = history.iter().map(|attempt| {
        (attempt.number, attempt.outcome, attempt.error.as_deref(), attempt.worker.as_deref())
    });
    facts.collect()
}

/// Claims the only due delivery of the handler `a` for a worker.
async fn claim_by(subject: &impl Subject, worker: &str) -> Claim {
    let request = claim_request(&["a"], 2).worker(worker);
    let mut claims = subject.store().claim(&request).await.expect("store is available");
    assert_eq!(claims.len(), 1, "expected exactly one due delivery: {claims:?}");
    claims.remove(0)
}

/// Claims the only due delivery of the handler `a`, and completes it after some time.
async fn attempt(
    subject: &impl Subject,
    worker: &str,
    duration: Duration,
    outcome: DeliveryOutcome,
) {
    let claim = claim_by(subject, worker).await;
    subject.pass(duration).await;
    complete(subject, &claim.lease, outcome).await;
}

fn later(reason: Option<&str>) -> DeliveryOutcome {
    DeliveryOutcome::Later { wait: SECOND, reason: reason.map(str::to_owned), out_of_order: false }
}

/// Asserts that a duration by the store's clock, which may also run by itself, is this long.
fn assert_duration(actual: Option<Duration>, expected: Duration) {
    let actual = actual.expect("attempt has ended");
    assert!((expected..expected + SECOND * 5).contains(&actual), "{actual:?}, not {expected:?}");
}

/// The history has each attempt with its outcome, its error, its worker, its time and its duration,
/// the oldest first.
pub async fn history_has_each_attempt(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    assert_eq!(history(subject, "evt_1").await, []);
    attempt(subject, "web-1", MINUTE / 2, retry_in(0)).await;
    attempt(subject, "web-2", SECOND * 10, later(Some("no stock yet"))).await;
    subject.pass(SECOND).await;
    attempt(subject, "web-1", Duration::ZERO, later(None)).await;
    subject.pass(SECOND * 100).await;
    let claim = claim_by(subject, "web-3").await;
    let running = history(subject, "evt_1").await;
    let expected = [
        (1, AttemptOutcome::Failed, Some("the warehouse is down"), Some("web-1")),
        (2, AttemptOutcome::Later, Some("no stock yet"), Some("web-2")),
        (2, AttemptOutcome::Later, None, Some("web-1")),
        (2, AttemptOutcome::Running, None, Some("web-3")),
    ];
    assert_eq!(facts(&running), expected);
    assert_eq!(running[3].duration, None);
    subject.pass(SECOND * 20).await;
    complete(subject, &claim.lease, DeliveryOutcome::Done).await;
    let done = history(subject, "evt_1").await;
    assert_eq!(done[..3], running[..3]);
    assert_eq!(facts(&done)[3], (2, AttemptOutcome::Done, None, Some("web-3")));
    for (attempt, seconds) in done.iter().zip([30, 10, 0, 20]) {
        assert_duration(attempt.duration, SECOND * seconds);
    }
    assert_eq!(running[3].started_at, done[3].started_at);
    let since = |earlier: SystemTime, later: SystemTime| later.duration_since(earlier).ok();
    let started_at: Vec<_> = done.iter().map(|attempt| attempt.started_at).collect();
    assert_duration(since(started_at[0], started_at[1]), SECOND * 30);
    assert_duration(since(started_at[1], started_at[3]), SECOND * 111);
}

/// A delivery that ends with its first attempt has this attempt in its history. The worker's name
/// is absent if the claim had none.
pub async fn history_has_the_only_attempt(subject: &impl Subject<Store: Operations>) {
    let rows = [
        ("evt_1", DeliveryOutcome::Done, AttemptOutcome::Done, None),
        ("evt_2", DeliveryOutcome::Ignored, AttemptOutcome::Ignored, None),
        ("evt_3", dead(), AttemptOutcome::Dead, Some("no such order")),
    ];
    for (id, outcome, expected, error) in rows {
        store(subject, &[new(&event(id), &["a"])]).await;
        let claim = claim_one(subject, "a").await;
        subject.pass(SECOND * 10).await;
        complete(subject, &claim.lease, outcome).await;
        let history = history(subject, id).await;
        assert_eq!(facts(&history), [(1, expected, error, None)], "{id}");
        assert_duration(history[0].duration, SECOND * 10);
    }
    // A discarded dead letter keeps its history.
    let before = history(subject, "evt_3").await;
    subject.store().discard("evt_3", None).await.expect("store is available");
    assert_eq!(history(subject, "evt_3").await, before);
}

/// A released attempt is not in the history.
pub async fn released_attempt_is_not_in_history(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    for attempts in 0..=MAX_HISTORY {
        attempt(subject, "web-1", Duration::ZERO, retry_in(0)).await;
        let before = history(subject, "evt_1").await;
        assert_eq!(before.len(), (attempts + 1).min(MAX_HISTORY));
        attempt(subject, "web-2", Duration::ZERO, DeliveryOutcome::RELEASED).await;
        assert_eq!(history(subject, "evt_1").await, before);
    }
}

/// An attempt whose process has crashed has the name of the crashed worker, and lasts until its
/// failure is recorded.
pub async fn crashed_attempt_has_its_own_worker(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    claim_by(subject, "crashed").await;
    let running = [(1, AttemptOutcome::Running, None, Some("crashed"))];
    assert_eq!(facts(&history(subject, "evt_1").await), running);
    subject.pass(LEASE).await;
    let expired = claim_by(subject, "web-2").await;
    assert!(expired.lease_expired);
    assert_eq!(facts(&history(subject, "evt_1").await), running);
    complete(subject, &expired.lease, retry_in(0)).await;
    attempt(subject, "web-2", Duration::ZERO, DeliveryOutcome::Done).await;
    let history = history(subject, "evt_1").await;
    let expected = [
        (1, AttemptOutcome::Failed, Some("the warehouse is down"), Some("crashed")),
        (2, AttemptOutcome::Done, None, Some("web-2")),
    ];
    assert_eq!(facts(&history), expected);
    assert_duration(history[0].duration, LEASE);
}

/// The outcome of a lost lease is not in the history.
pub async fn lost_lease_changes_no_history(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let lost = claim_by(subject, "web-1").await;
    subject.pass(LEASE).await;
    claim_by(subject, "web-2").await;
    let before = history(subject, "evt_1").await;
    complete(subject, &lost.lease, retry_in(0)).await;
    complete(subject, &lost.lease, DeliveryOutcome::Done).await;
    assert_eq!(history(subject, "evt_1").await, before);
}

/// The history has the latest ten attempts, including the running or the last one.
pub async fn history_has_the_latest_attempts(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    for _ in 0..MAX_HISTORY + 2 {
        attempt(subject, "web-1", Duration::ZERO, retry_in(0)).await;
    }
    let numbers = async || -> Vec<u32> {
        history(subject, "evt_1").await.iter().map(|attempt| attempt.number).collect()
    };
    assert_eq!(numbers().await, (3..=12).collect::<Vec<_>>());
    let claim = claim_by(subject, "web-1").await;
    assert_eq!(numbers().await, (4..=13).collect::<Vec<_>>());
    complete(subject, &claim.lease, DeliveryOutcome::Done).await;
    assert_eq!(numbers().await, (4..=13).collect::<Vec<_>>());
}

/// A delivery that starts over keeps its history, because an operator has retried it or because the
/// event was redelivered, before the delivery died or after that. The numbers begin with 1 again.
pub async fn delivery_that_starts_over_keeps_its_history(
    subject: &impl Subject<Store: Operations>,
) {
    let again = new(&event("evt_1"), &["a"]);
    store(subject, from_ref(&again)).await;
    attempt(subject, "web-1", Duration::ZERO, retry_in(600)).await;
    // The attempts of a waiting delivery continue.
    subject.store().retry("evt_1", None).await.expect("store is available");
    attempt(subject, "web-1", Duration::ZERO, dead()).await;
    subject.store().retry("evt_1", None).await.expect("store is available");
    attempt(subject, "web-1", Duration::ZERO, dead()).await;
    store(subject, from_ref(&again)).await;
    attempt(subject, "web-1", Duration::ZERO, dead()).await;
    subject.store().discard("evt_1", None).await.expect("store is available");
    subject.store().retry("evt_1", None).await.expect("store is available");
    let claim = claim_by(subject, "web-1").await;
    complete(subject, &claim.lease, DeliveryOutcome::Done).await;
    let history = history(subject, "evt_1").await;
    let attempts: Vec<_> =
        history.iter().map(|attempt| (attempt.number, attempt.outcome)).collect();
    let dead = AttemptOutcome::Dead;
    let expected = [(1, AttemptOutcome::Failed), (2, dead), (1, dead), (1, dead)];
    assert_eq!(attempts, [&expected[..], &[(1, AttemptOutcome::Done)]].concat());
}

/// If an operator retries or discards a delivery whose lease has expired, the attempt of the
/// crashed worker is in the history.
pub async fn attempt_abandoned_by_operator_is_in_history(
    subject: &impl Subject<Store: Operations>,
) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let operator = subject.store();
    claim_by(subject, "crashed").await;
    // The lease has not expired, so nothing changes.
    operator.retry("evt_1", None).await.expect("store is available");
    subject.pass(LEASE).await;
    operator.retry("evt_1", None).await.expect("store is available");
    claim_by(subject, "crashed too").await;
    subject.pass(LEASE * 2).await;
    operator.discard("evt_1", None).await.expect("store is available");
    let history = history(subject, "evt_1").await;
    let error = history[0].error.as_deref();
    assert!(error.is_some_and(|error| error.contains("lease")), "{history:?}");
    let expected = [
        (1, AttemptOutcome::Failed, error, Some("crashed")),
        (2, AttemptOutcome::Failed, error, Some("crashed too")),
    ];
    assert_eq!(facts(&history), expected);
    assert_duration(history[0].duration, LEASE);
    assert_duration(history[1].duration, LEASE * 2);
}

/// Any error and any worker's name can be in a history. An error is shortened. A store may replace
/// NUL with `␀`.
pub async fn history_can_have_any_text(subject: &impl Subject<Store: Operations>) {
    let long = "é".repeat(MAX_ATTEMPT_ERROR);
    for (number, text) in unusual_texts().into_iter().chain([long]).enumerate() {
        let id = format!("evt_{number}");
        store(subject, &[new(&event(&id), &["a"])]).await;
        let failed = DeliveryOutcome::Dead { error: text.clone() };
        let worker: String = text.chars().take(64).collect();
        attempt(subject, &worker, Duration::ZERO, failed).await;
        let history = history(subject, &id).await;
        let error = history[0].error.as_deref().expect("attempt has failed");
        assert_eq!(history[0].worker.as_deref().map(without_nul), Some(without_nul(&worker)));
        match error.strip_suffix('…').filter(|_| text.len() > MAX_ATTEMPT_ERROR) {
            None => assert_eq!(without_nul(error), without_nul(&text)),
            Some(start) => {
                assert!(text.starts_with(start), "{error:?} of {text:?}");
                let lengths = MAX_ATTEMPT_ERROR - 3..=MAX_ATTEMPT_ERROR;
                assert!(lengths.contains(&error.len()), "{} bytes: {error:?}", error.len());
            }
        }
    }
}

/// A duration is not negative if the clock was set back during the attempt.
pub async fn clock_set_back_makes_no_duration_negative(subject: &impl Subject<Store: Operations>) {
    for (id, outcome) in [("evt_1", dead()), ("evt_2", DeliveryOutcome::Done)] {
        store(subject, &[new(&event(id), &["a"])]).await;
        let claim = claim_by(subject, "web-1").await;
        if !subject.set_back(MINUTE * 60).await {
            return println!("skipped: the store's clock cannot be set back");
        }
        complete(subject, &claim.lease, outcome).await;
        let history = history(subject, id).await;
        let duration = history[0].duration.expect("attempt has ended");
        assert!(duration < SECOND * 5, "{id}: {duration:?}");
    }
}
