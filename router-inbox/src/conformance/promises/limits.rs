//! Promises about unusual texts, the longest durations and large batches.

use std::{slice::from_ref, time::Duration};

use router_core::{Event, delivery::DeliveryOrder, event::StoredEvent, testing::SyntheticEvent};

use super::{
    SECOND, claim, claim_one, claim_request, complete, delivery, duplicate, event, event_of, new,
    store,
};
use crate::{
    Store as _,
    conformance::Subject,
    store::{
        ClaimRequest, CompleteResult, DeliveryOutcome, DeliveryState, NewEvent, Stored,
        StoredDelivery, WorkerInfo,
    },
};

/// The number of events in a large batch: more than one atomic batch of JetStream can contain.
pub(super) const LARGE_BATCH: usize = 1_000;

/// Returns texts that some engines cannot store or index unchanged: PostgreSQL's texts cannot
/// contain NUL, and its index entries have a maximum length. The tokens of a NATS subject cannot
/// contain dots, spaces, `*` or `>`.
pub(super) fn unusual_texts() -> Vec<String> {
    // Not repetitive, so that compression cannot shorten it.
    let long = (0..1_000).map(|number| format!("{:x}", 7_919_u64.pow(3) * number)).collect();
    let short =
        ["\0", "a\0b", "\0\r\n", "", "a.b", "a b", "*", ">", "💶", "it's", "100%_\\", "\"[{"];
    short.into_iter().map(str::to_owned).chain([long]).collect()
}

/// Returns an event of the given type, whose id, account and object contain the text.
pub(super) fn event_with_text(text: &str, event_type: &str) -> Event {
    let event = SyntheticEvent::new("customer.updated").id(format!("evt_{text}"));
    let event = event.account(format!("acct_{text}")).set("id", format!("cus_{text}"));
    let event = event_of(event);
    let payload = event.payload_text().replace("customer.updated", &escaped(event_type));
    let stored = StoredEvent { payload: payload.into(), ..StoredEvent::from_event(&event) };
    Event::from_store(stored).expect("event is valid")
}

/// Returns a handler's name that contains the text, shortened to the length of a valid name.
pub(super) fn handler_name(text: &str) -> String {
    format!("shop::{}", text.chars().take(50).collect::<String>())
}

/// Returns the text as the content of a JSON string.
fn escaped(text: &str) -> String {
    let is_plain = |char: char| char >= ' ' && char != '"' && char != '\\';
    let escape = |char| match is_plain(char) {
        true => char.to_string(),
        false => format!("\\u{:04x}", u32::from(char)),
    };
    text.chars().map(escape).collect()
}

/// Replaces each NUL, as a store does that cannot contain NUL.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}

/// An event with any text is stored and delivered, because an event that Stripe has signed must not
/// be answered with 503 forever. Except in the payload and the key, a store may replace NUL with
/// `␀`.
pub async fn event_with_any_text_is_stored(subject: &impl Subject) {
    for text in unusual_texts() {
        let event = event_with_text(&text, "v2.core.account[identity].\0");
        let handler = handler_name(&text);
        let ordered = delivery(&*handler, Some(DeliveryOrder::OldestFirst));
        let new = NewEvent::new(event.clone(), vec![ordered]);
        let results = store(subject, &[new.clone(), new]).await;
        assert_eq!(results, [Stored::New, duplicate(&[DeliveryState::Waiting])], "{text:?}");
        let claim = claim_one(subject, &handler).await;
        let claimed = claim.event.as_ref().expect("stored event is readable");
        assert_eq!((claimed.key(), claimed.payload()), (event.key(), event.payload()));
        let failed = DeliveryOutcome::Dead { error: format!("no {text}") };
        assert_eq!(complete(subject, &claim.lease, failed).await, CompleteResult::Recorded);
        let deliveries = subject.store().deliveries(event.id()).await.expect("store is available");
        let [StoredDelivery { handler: stored, account, error, .. }] = &deliveries[..] else {
            panic!("expected one delivery: {deliveries:?}")
        };
        let error = error.as_deref().expect("delivery has failed");
        assert_eq!(without_nul(error), without_nul(&format!("no {text}")));
        assert_eq!(without_nul(stored), without_nul(&handler));
        let account = account.as_deref().expect("event has an account");
        assert_eq!(without_nul(account), without_nul(&format!("acct_{text}")));
    }
}

/// Events are identified by several texts, whose boundaries are part of the identity.
pub async fn different_events_are_no_duplicates(subject: &impl Subject) {
    let event = |id: &str| SyntheticEvent::new("invoice.paid").id(id);
    let events =
        [event("bc").account("a"), event("c").account("ab"), event("abc"), event("account")];
    for event in events {
        let new = new(&event_of(event), &[]);
        assert_eq!(store(subject, from_ref(&new)).await, [Stored::New], "{new:?}");
    }
}

/// Every duration is accepted, up to [`Duration::MAX`]. None overflows a point in time.
pub async fn longest_durations_are_accepted(subject: &impl Subject) {
    for longest in [Duration::MAX, Duration::from_millis(i64::MAX.unsigned_abs())] {
        let id = format!("evt_{longest:?}");
        store(subject, &[new(&event(&id), &["a", "b", "c"])]).await;
        let request = ClaimRequest { lease: longest, ..claim_request(&["a", "b", "c"], 9) };
        let claims = subject.store().claim(&request).await.expect("store is available");
        let [released, retried, held] = &claims[..] else { panic!("expected three: {claims:?}") };
        let extended = subject.store().extend(from_ref(&held.lease), longest).await;
        assert_eq!(extended.expect("store is available"), [true]);
        let release = DeliveryOutcome::Released { wait: longest };
        assert_eq!(complete(subject, &released.lease, release).await, CompleteResult::Recorded);
        let retry = DeliveryOutcome::Retry { wait: longest, error: "not now".into() };
        assert_eq!(complete(subject, &retried.lease, retry).await, CompleteResult::Recorded);
        let worker = WorkerInfo::new(format!("worker {longest:?}"), ["a".into()]);
        subject.store().report_worker(&worker, longest).await.expect("store is available");
        if let Some(workers) = subject.store().workers().await.expect("store is available") {
            assert!(workers.contains(&worker), "{workers:?}");
        }
    }
    subject.pass(SECOND * 3_600).await;
    assert!(claim(subject, &["a", "b", "c"], 9).await.is_empty(), "all are leased or due later");
}

/// A batch of any size is stored, claimed and completed.
pub async fn large_batch_is_stored_and_completed(subject: &impl Subject) {
    let events: Vec<_> =
        (0..LARGE_BATCH).map(|number| new(&event(&format!("evt_{number}")), &["a"])).collect();
    assert_eq!(store(subject, &events).await, vec![Stored::New; LARGE_BATCH]);
    let waiting = duplicate(&[DeliveryState::Waiting]);
    assert_eq!(store(subject, &events).await, vec![waiting; LARGE_BATCH]);
    let claims = claim(subject, &["a"], LARGE_BATCH * 2).await;
    assert_eq!(claims.len(), LARGE_BATCH);
    let outcomes: Vec<_> =
        claims.into_iter().map(|claim| (claim.lease, DeliveryOutcome::Done)).collect();
    let results = subject.store().complete(&outcomes).await.expect("store is available");
    assert_eq!(results, vec![CompleteResult::Recorded; LARGE_BATCH]);
    assert_eq!(subject.store().backlog().await.expect("store is available"), []);
}
