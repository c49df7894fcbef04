//! What a handler that minds `Recency` may rely on: events of one object in every order, with
//! duplicates, made in one second or in several.

use proptest::prelude::*;
use router_core::{Failure, Outcome, Recency, Registered, Router, on_event};
use router_tests::event;
use tower::ServiceExt as _;

/// One event of one object: how recent, and its place in the object's real history.
#[derive(Debug, Clone, Copy)]
struct Shown {
    recency: Recency,
    place: usize,
}

fn snapshot(event_type: &str, created: u64) -> String {
    format!(
        r#"{{"id":"evt_1","object":"event","type":"{event_type}","created":{created},"data":{{"object":{{"id":"sub_1"}}}}}}"#
    )
}

fn recency(change: &str, created: u64) -> Recency {
    let event = event(snapshot(&format!("customer.subscription.{change}"), created));
    Recency::of(&event.expect("it is an event")).expect("it says when it was made")
}

/// What Stripe tells of an object that is created, updated as often as there are seconds, and maybe
/// deleted, with the second in which each event was made.
fn history(created: u64, updates: &[u64], deleted: Option<u64>) -> Vec<Shown> {
    let updates = updates.iter().map(|second| recency("updated", *second));
    std::iter::once(recency("created", created))
        .chain(updates)
        .chain(deleted.map(|second| recency("deleted", second)))
        .enumerate()
        .map(|(place, recency)| Shown { recency, place })
        .collect()
}

/// The model of a table with one object: the guard as a handler uses it.
#[derive(Default)]
struct Row(Option<Shown>);

impl Row {
    /// Whether the state was written.
    fn write(&mut self, shown: Shown) -> bool {
        let drop = self.0.is_some_and(|seen| shown.recency.is_older_than(seen.recency));
        if !drop {
            self.0 = Some(shown);
        }
        !drop
    }
}

/// Every order of these events.
fn permutations(events: &[Shown]) -> Vec<Vec<Shown>> {
    let Some((first, rest)) = events.split_first() else { return vec![vec![]] };
    let mut all = Vec::new();
    for permutation in permutations(rest) {
        for at in 0..=permutation.len() {
            let mut permutation = permutation.clone();
            permutation.insert(at, *first);
            all.push(permutation);
        }
    }
    all
}

/// Every order of these events, and each again with one of its events delivered a second time, at
/// every later place.
fn deliveries(events: &[Shown], mut check: impl FnMut(&[Shown])) {
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

/// What holds of every history, in whatever seconds its events were made.
fn holds_in_every_order(events: &[Shown], is_deleted: bool) {
    let (created, last) = (0, events.len() - 1);
    deliveries(events, |delivery| {
        let mut row = Row::default();
        for (count, shown) in delivery.iter().enumerate() {
            let written = row.write(*shown);
            let before = &delivery[..count];
            let newest = before.iter().map(|shown| shown.recency).max();
            // Nothing but what is older than something that was seen is dropped: a tie never is.
            assert_eq!(
                written,
                newest.is_none_or(|newest| newest <= shown.recency),
                "{delivery:?}"
            );
            if shown.place == created {
                let only_created = before.iter().all(|shown| shown.place == created);
                assert_eq!(written, only_created, "it overwrites an update: {delivery:?}");
            }
            if is_deleted && shown.place == last {
                assert!(written, "the deletion is dropped: {delivery:?}");
            }
        }
        let end = row.0.expect("something was written");
        if is_deleted {
            assert_eq!(end.place, last, "it is not deleted in the end: {delivery:?}");
        } else if last > created {
            assert_ne!(end.place, created, "no update is there in the end: {delivery:?}");
        }
    });
}

#[test]
fn events_of_one_second_end_in_the_right_stage_in_every_order() {
    for updates in 0..=4 {
        for deleted in [None, Some(5)] {
            let events = history(5, &vec![5; updates], deleted);
            holds_in_every_order(&events, deleted.is_some());
        }
    }
}

#[test]
fn events_of_different_seconds_end_in_the_last_state_in_every_order() {
    for updates in 0..=4 {
        let seconds: Vec<u64> = (6..).take(updates).collect();
        for deleted in [None, Some(20)] {
            let events = history(5, &seconds, deleted);
            deliveries(&events, |delivery| {
                let mut row = Row::default();
                for shown in delivery {
                    row.write(*shown);
                }
                let end = row.0.expect("something was written");
                assert_eq!(end.place, events.len() - 1, "{delivery:?}");
            });
        }
    }
}

#[test]
fn of_two_updates_of_one_second_the_one_that_came_last_stays() {
    let events = history(5, &[6, 6], None);
    let [created, first, second] = events[..] else { panic!("{events:?}") };
    for (delivery, end) in [([first, created, second], 2), ([second, created, first], 1)] {
        let mut row = Row::default();
        let written = delivery.map(|shown| row.write(shown));
        assert_eq!(written, [true, false, true]);
        assert_eq!(row.0.map(|shown| shown.place), Some(end));
    }
}

proptest! {
    /// The second in which an event was made never goes back here, and often stands still.
    #[test]
    fn events_of_any_seconds_end_in_the_right_stage_in_every_order(
        start in 0_u64..=4_102_444_800,
        steps in prop::collection::vec(prop_oneof![Just(0_u64), Just(1), 0..=100_000_u64], 0..=4),
        deleted: Option<u16>,
    ) {
        let mut second = start;
        let updates: Vec<u64> = steps.iter().map(|step| { second += step; second }).collect();
        let deleted = deleted.map(|step| second + u64::from(step));
        holds_in_every_order(&history(start, &updates, deleted), deleted.is_some());
    }

    /// Stripe's clocks are many: a second says little, and the stage still counts.
    #[test]
    fn a_stage_counts_whatever_the_seconds_say(created: u64, updated: u64, deleted: u64) {
        let seconds = |second: u64| second >> 1; // what a time of day can hold
        let created = recency("created", seconds(created));
        let updated = recency("updated", seconds(updated));
        let deleted = recency("deleted", seconds(deleted));
        prop_assert!(created.is_older_than(updated) && updated.is_older_than(deleted));
        prop_assert!(created.as_i64() >= 0 && deleted.as_i64() < 1 << 53);
    }

    #[test]
    fn what_is_kept_is_in_the_same_order_and_comes_back(a in 0_u64..1 << 40, b in 0_u64..1 << 40) {
        let (a, b) = (recency("updated", a), recency("updated", b));
        prop_assert_eq!(a.as_i64().cmp(&b.as_i64()), a.cmp(&b));
        prop_assert_eq!(Recency::from_i64(a.as_i64()), a);
        let json = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(&json, &a.as_i64().to_string());
        prop_assert_eq!(serde_json::from_str::<Recency>(&json).unwrap(), a);
    }
}

#[test]
fn the_stage_is_the_last_word_of_the_event_type() {
    let of = |event_type: &str| Recency::of(&event(snapshot(event_type, 5)).unwrap()).unwrap();
    let (first, between, last) = (of("invoice.created"), of("invoice.paid"), of("invoice.deleted"));
    assert!(first < between && between < last);
    for (event_type, stage) in [
        ("account.external_account.created", first),
        ("account.external_account.deleted", last),
        ("customer.subscription.paused", between),
        ("created.thing", between),
        ("thing.deleted_soon", between),
        ("thing", between),
    ] {
        assert_eq!(of(event_type), stage, "{event_type}");
    }
}

const UNDATED: &str =
    r#"{"id":"evt_1","object":"event","type":"invoice.paid","created":null,"data":{"object":{}}}"#;
const THIN: &str = r#"{"id":"evt_1","object":"v2.core.event","type":"v2.core.account.created","created":"2023-11-14T22:13:20.000Z"}"#;

/// What the router makes of an event with this handler alone.
async fn run<H: Registered>(payload: &str) -> Result<Outcome, (bool, String)> {
    let router = Router::builder().only::<H>().build().expect("it has a handler");
    let report = router.oneshot(event(payload.to_owned()).expect("it is an event")).await;
    let report = report.expect("the router is open");
    let [handler] = report.handlers() else { panic!("not one handler: {report:?}") };
    let shown = |failure: &Failure| (failure.is_permanent(), failure.to_string());
    handler.result().cloned().map_err(shown)
}

#[on_event("invoice.paid")]
async fn takes(recency: Recency) -> Outcome {
    Outcome::ignored(recency.as_i64().to_string())
}

#[on_event("*")]
async fn may_take(recency: Option<Recency>) -> Outcome {
    Outcome::ignored(format!("{:?}", recency.map(Recency::as_i64)))
}

#[tokio::test]
async fn a_handler_takes_it_and_an_event_that_shows_none_fails_it_for_good() {
    let paid = snapshot("invoice.paid", 5);
    assert_eq!(run::<takes>(&paid).await, Ok(Outcome::ignored("1099511627781")));
    assert_eq!(run::<may_take>(&paid).await, Ok(Outcome::ignored("Some(1099511627781)")));

    let (permanent, text) = run::<takes>(UNDATED).await.unwrap_err();
    assert!(permanent && text.ends_with("take an `Option<Recency>`"), "{text}");
    for payload in [UNDATED, THIN] {
        assert_eq!(run::<may_take>(payload).await, Ok(Outcome::ignored("None")));
    }
}
