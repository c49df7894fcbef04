//! Guarantees of `Recency` to a handler: events of one object are delivered in every order, with
//! duplicates, and created in the same second or in different ones.

use proptest::prelude::*;
use router_core::{Failure, Outcome, Router, build::Registered, event::Recency, on_event};
use router_inbox::store::OrderKey;
use router_tests::event;
use tower::ServiceExt as _;

/// An event of an object: its recency, and its position in the object's real history.
#[derive(Debug, Clone, Copy)]
struct ObjectEvent {
    recency: Recency,
    position: usize,
}

fn snapshot(event_type: &str, created: u64) -> String {
    format!(
        r#"{{"id":"evt_1","object":"event","type":"{event_type}","created":{created},"data":{{"object":{{"id":"sub_1"}}}}}}"#
    )
}

fn recency(change: &str, created: u64) -> Recency {
    let event = event(snapshot(&format!("customer.subscription.{change}"), created));
    Recency::from_event(&event.expect("the payload is an event")).expect("the event has `created`")
}

/// Returns the events of an object's life: its creation, its updates, and its deletion if there is
/// one, each created in the given second.
fn history(created: u64, updates: &[u64], deleted: Option<u64>) -> Vec<ObjectEvent> {
    let updates = updates.iter().map(|second| recency("updated", *second));
    std::iter::once(recency("created", created))
        .chain(updates)
        .chain(deleted.map(|second| recency("deleted", second)))
        .enumerate()
        .map(|(position, recency)| ObjectEvent { recency, position })
        .collect()
}

/// The stored state of one object, with the guard that a handler uses.
#[derive(Default)]
struct Row(Option<ObjectEvent>);

impl Row {
    /// Returns whether the state was written.
    fn write(&mut self, event: ObjectEvent) -> bool {
        let is_stale = self.0.is_some_and(|stored| event.recency.is_older_than(stored.recency));
        if !is_stale {
            self.0 = Some(event);
        }
        !is_stale
    }
}

/// Returns the events in every order.
fn permutations(events: &[ObjectEvent]) -> Vec<Vec<ObjectEvent>> {
    let Some((first, rest)) = events.split_first() else { return vec![vec![]] };
    let mut all = Vec::new();
    for permutation in permutations(rest) {
        for index in 0..=permutation.len() {
            let mut permutation = permutation.clone();
            permutation.insert(index, *first);
            all.push(permutation);
        }
    }
    all
}

/// Calls `check` with the events in every order, and with every order that repeats one of them at a
/// later position.
fn for_each_delivery(events: &[ObjectEvent], mut check: impl FnMut(&[ObjectEvent])) {
    for permutation in permutations(events) {
        check(&permutation);
        for first in 0..permutation.len() {
            for second in first + 1..=permutation.len() {
                let mut delivery = permutation.clone();
                delivery.insert(second, permutation[first]);
                check(&delivery);
            }
        }
    }
}

/// Asserts the guarantees that do not depend on the seconds in which the events were created.
fn assert_right_stage_in_every_order(events: &[ObjectEvent], is_deleted: bool) {
    let (created, last) = (0, events.len() - 1);
    for_each_delivery(events, |delivery| {
        let mut row = Row::default();
        for (count, event) in delivery.iter().enumerate() {
            let written = row.write(*event);
            let before = &delivery[..count];
            let newest = before.iter().map(|event| event.recency).max();
            // Only an event older than one seen before is dropped; a tie is written.
            assert_eq!(
                written,
                newest.is_none_or(|newest| newest <= event.recency),
                "{delivery:?}"
            );
            if event.position == created {
                let only_created = before.iter().all(|event| event.position == created);
                assert_eq!(
                    written, only_created,
                    "the creation overwrites an update: {delivery:?}"
                );
            }
            if is_deleted && event.position == last {
                assert!(written, "the deletion is dropped: {delivery:?}");
            }
        }
        let end = row.0.expect("the first event is always written");
        if is_deleted {
            assert_eq!(end.position, last, "the object is not deleted at the end: {delivery:?}");
        } else if last > created {
            assert_ne!(end.position, created, "no update is stored at the end: {delivery:?}");
        }
    });
}

#[test]
fn same_second_events_end_in_right_stage() {
    for updates in 0..=4 {
        for deleted in [None, Some(5)] {
            let events = history(5, &vec![5; updates], deleted);
            assert_right_stage_in_every_order(&events, deleted.is_some());
        }
    }
}

#[test]
fn different_second_events_end_in_last_state() {
    for updates in 0..=4 {
        let seconds: Vec<u64> = (6..).take(updates).collect();
        for deleted in [None, Some(20)] {
            let events = history(5, &seconds, deleted);
            for_each_delivery(&events, |delivery| {
                let mut row = Row::default();
                for event in delivery {
                    row.write(*event);
                }
                let end = row.0.expect("the first event is always written");
                assert_eq!(end.position, events.len() - 1, "{delivery:?}");
            });
        }
    }
}

#[test]
fn same_second_updates_keep_the_last_delivered() {
    let events = history(5, &[6, 6], None);
    let [created, first, second] = events[..] else { panic!("{events:?}") };
    for (delivery, end) in [([first, created, second], 2), ([second, created, first], 1)] {
        let mut row = Row::default();
        let written = delivery.map(|event| row.write(event));
        assert_eq!(written, [true, false, true]);
        assert_eq!(row.0.map(|event| event.position), Some(end));
    }
}

proptest! {
    /// The seconds never decrease, and often repeat.
    #[test]
    fn events_of_any_seconds_end_in_right_stage(
        start in 0_u64..=4_102_444_800,
        steps in prop::collection::vec(prop_oneof![Just(0_u64), Just(1), 0..=100_000_u64], 0..=4),
        deleted: Option<u16>,
    ) {
        let mut second = start;
        let updates: Vec<u64> = steps.iter().map(|step| { second += step; second }).collect();
        let deleted = deleted.map(|step| second + u64::from(step));
        assert_right_stage_in_every_order(&history(start, &updates, deleted), deleted.is_some());
    }

    /// Stripe's clocks can differ, so the stage takes precedence over the second.
    #[test]
    fn stage_takes_precedence_over_seconds(created: u64, updated: u64, deleted: u64) {
        let seconds = |second: u64| second >> 1; // `SystemTime` cannot hold more
        let created = recency("created", seconds(created));
        let updated = recency("updated", seconds(updated));
        let deleted = recency("deleted", seconds(deleted));
        prop_assert!(created.is_older_than(updated) && updated.is_older_than(deleted));
        prop_assert!(created.as_i64() >= 0 && deleted.as_i64() < 1 << 53);
    }

    #[test]
    fn stored_recency_keeps_order_and_round_trips(a in 0_u64..1 << 40, b in 0_u64..1 << 40) {
        let (a, b) = (recency("updated", a), recency("updated", b));
        prop_assert_eq!(a.as_i64().cmp(&b.as_i64()), a.cmp(&b));
        prop_assert_eq!(Recency::from_i64(a.as_i64()), a);
        let json = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(&json, &a.as_i64().to_string());
        prop_assert_eq!(serde_json::from_str::<Recency>(&json).unwrap(), a);
    }
}

#[test]
fn stage_is_last_word_of_event_type() {
    let recency_of =
        |event_type: &str| Recency::from_event(&event(snapshot(event_type, 5)).unwrap()).unwrap();
    let (first, between, last) =
        (recency_of("invoice.created"), recency_of("invoice.paid"), recency_of("invoice.deleted"));
    assert!(first < between && between < last);
    for (event_type, stage) in [
        ("account.external_account.created", first),
        ("account.external_account.deleted", last),
        ("customer.subscription.paused", between),
        ("created.thing", between),
        ("thing.deleted_soon", between),
        ("thing", between),
    ] {
        assert_eq!(recency_of(event_type), stage, "{event_type}");
    }
}

const UNDATED: &str =
    r#"{"id":"evt_1","object":"event","type":"invoice.paid","created":null,"data":{"object":{}}}"#;
const THIN: &str = r#"{"id":"evt_1","object":"v2.core.event","type":"v2.core.account.created","created":"2023-11-14T22:13:20.000Z"}"#;

/// Runs the handler with the event. Returns its outcome, or its failure: whether it is permanent,
/// and its text.
async fn run<H: Registered>(payload: &str) -> Result<Outcome, (bool, String)> {
    let router = Router::builder().only::<H>().build().expect("the router is valid");
    let report = router.oneshot(event(payload.to_owned()).expect("the payload is an event")).await;
    let report = report.expect("the router is open");
    let [handler] = report.handlers() else { panic!("expected one handler: {report:?}") };
    let describe = |failure: &Failure| (failure.is_permanent(), failure.to_string());
    handler.result().cloned().map_err(describe)
}

#[on_event("invoice.paid")]
async fn required(recency: Recency) -> Outcome {
    Outcome::ignored(recency.as_i64().to_string())
}

#[on_event("*")]
async fn optional(recency: Option<Recency>) -> Outcome {
    Outcome::ignored(format!("{:?}", recency.map(Recency::as_i64)))
}

#[tokio::test]
async fn missing_recency_fails_handler_permanently() {
    let paid = snapshot("invoice.paid", 5);
    assert_eq!(run::<required>(&paid).await, Ok(Outcome::ignored("1099511627781")));
    assert_eq!(run::<optional>(&paid).await, Ok(Outcome::ignored("Some(1099511627781)")));

    let (permanent, text) = run::<required>(UNDATED).await.unwrap_err();
    assert!(permanent && text.ends_with("take an `Option<Recency>`"), "{text}");
    for payload in [UNDATED, THIN] {
        assert_eq!(run::<optional>(payload).await, Ok(Outcome::ignored("None")));
    }
}

#[test]
fn change_of_thin_event_is_ordered_among_snapshot_events() {
    // The second of `THIN`.
    let second = 1_700_000_000;
    let of_change = |payload: String| Recency::of_change(&event(payload).unwrap());
    let thin =
        |change: &str| of_change(THIN.replace("account.created", &format!("account.{change}")));
    let snapshot =
        |change: &str, created| of_change(snapshot(&format!("account.{change}"), created));
    for stage in ["created", "updated", "deleted"] {
        assert!(thin(stage).is_some(), "{stage}");
        assert_eq!(thin(stage), snapshot(stage, second), "{stage}");
        assert!(thin(stage) < snapshot(stage, second + 1), "{stage}");
    }
    assert!(thin("created") < snapshot("updated", 1));
    assert!(thin("deleted") > snapshot("updated", second + 1));
    assert_eq!(of_change(UNDATED.to_owned()), None);
}

#[test]
fn thin_and_snapshot_events_of_an_object_share_a_lane() {
    let related = r#""related_object":{"id":"sub_1","type":"subscription","url":"/v1/sub_1"}}"#;
    let thin = THIN.replace("000Z\"}", &format!("000Z\",{related}"));
    let order_key = |payload: String| OrderKey::from_event(&event(payload).unwrap());
    let same_second = snapshot("account.created", 1_700_000_000);
    assert_eq!(order_key(thin.clone()), order_key(same_second));
    let earlier_update = snapshot("account.updated", 1);
    assert!(order_key(thin).recency < order_key(earlier_update).recency);
}
