//! The handlers of the simulation, which fail at random before they finish an event.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use router_core::{
    Event, Failure, Outcome,
    handler::{Handler, HandlerResult},
};

pub(crate) const HANDLERS: [&str; 3] = ["orders", "receipts", "audit"];

/// The behavior of a handler in one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Behavior {
    Finish,
    /// Yields before it finishes.
    FinishLater,
    Ignore,
    Fail,
    /// Fails with a time for the next attempt.
    FailWithRetryAfter,
    FailPermanently,
    Panic,
    Hang,
}

pub(crate) struct Shop(Mutex<State>);

struct State {
    rng: fastrand::Rng,
    /// The deliveries by event id and handler.
    deliveries: HashMap<(String, &'static str), Delivery>,
    behaviors: HashMap<Behavior, u32>,
    /// Violations, asserted at the end: a panic in a handler would count as an injected one.
    violations: Vec<String>,
}

#[derive(Debug, Default)]
struct Delivery {
    attempts: u32,
    running: bool,
    finished: u32,
    /// `true` if the last run was a dead letter, which starts over if the event is redelivered.
    is_dead: bool,
    /// `true` if a dead letter has started over. If the run fails, no further redelivery is needed.
    started_over: bool,
}

/// A handler of the shop.
struct ShopHandler {
    shop: Arc<Shop>,
    name: &'static str,
}

/// A running attempt. It ends when it is dropped, even if its future is canceled.
struct Attempt<'s> {
    shop: &'s Shop,
    key: (String, &'static str),
}

impl Shop {
    pub(crate) fn new(rng: fastrand::Rng) -> Self {
        let (deliveries, behaviors, violations) = (HashMap::new(), HashMap::new(), Vec::new());
        Self(Mutex::new(State { rng, deliveries, behaviors, violations }))
    }

    pub(crate) fn handler(self: &Arc<Self>, name: &'static str) -> impl Handler + use<> {
        ShopHandler { shop: self.clone(), name }
    }

    pub(crate) fn summary(&self) -> String {
        let state = self.state();
        let mut behaviors: Vec<_> = state.behaviors.iter().collect();
        behaviors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        behaviors.iter().fold(String::new(), |mut text, (behavior, count)| {
            let _ = write!(text, "{behavior:?} {count} ");
            text
        })
    }

    /// Asserts that each handler has finished each event, and has not run after that, except for
    /// dead letters.
    pub(crate) fn assert_each_finished_once(&self, events: u32) {
        let state = self.state();
        assert!(state.violations.is_empty(), "{:#?}", state.violations);
        assert_eq!(state.deliveries.len(), events as usize * HANDLERS.len());
        for (key, delivery) in &state.deliveries {
            assert!(delivery.finished == 1 || delivery.started_over, "{key:?}: {delivery:?}");
        }
        assert!(
            state.deliveries.values().any(|delivery| delivery.started_over),
            "no dead letter has started over, so the simulation does not cover it"
        );
        for behavior in [
            Behavior::FinishLater,
            Behavior::Ignore,
            Behavior::Fail,
            Behavior::FailPermanently,
            Behavior::Panic,
            Behavior::Hang,
        ] {
            assert!(
                state.behaviors.contains_key(&behavior),
                "no attempt was {behavior:?}, so the simulation does not cover it"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("the lock is not poisoned")
    }

    fn begin(&self, event: &Event, name: &'static str) -> (Attempt<'_>, Behavior) {
        let key = (event.id().to_owned(), name);
        let state = &mut *self.state();
        let roll = state.rng.u8(..100);
        let delivery = state.deliveries.entry(key.clone()).or_default();
        if std::mem::take(&mut delivery.is_dead) {
            (delivery.finished, delivery.started_over) = (0, true);
        }
        if delivery.running || delivery.finished > 0 {
            state.violations.push(format!(
                "{key:?} was started while running or after it finished: {delivery:?}"
            ));
        }
        delivery.running = true;
        delivery.attempts += 1;
        let behavior = match roll {
            // Limits the retries.
            _ if delivery.attempts > 6 => Behavior::Finish,
            0..40 => Behavior::Finish,
            40..60 => Behavior::FinishLater,
            60..65 => Behavior::Ignore,
            65..75 => Behavior::Fail,
            75..80 => Behavior::FailWithRetryAfter,
            80..85 => Behavior::FailPermanently,
            85..93 => Behavior::Panic,
            _ => Behavior::Hang,
        };
        *state.behaviors.entry(behavior).or_default() += 1;
        (Attempt { shop: self, key }, behavior)
    }
}

impl Attempt<'_> {
    fn finish(&self) {
        self.change(|delivery| delivery.finished += 1);
    }

    fn fail_permanently(&self) {
        self.change(|delivery| (delivery.finished, delivery.is_dead) = (1, true));
    }

    fn change(&self, change: impl FnOnce(&mut Delivery)) {
        let mut state = self.shop.state();
        change(state.deliveries.get_mut(&self.key).expect("the attempt was recorded"));
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(delivery) = self.shop.state().deliveries.get_mut(&self.key) {
            delivery.running = false;
        }
    }
}

#[async_trait::async_trait]
impl Handler for ShopHandler {
    async fn call(&self, event: Event) -> HandlerResult {
        let (attempt, behavior) = self.shop.begin(&event, self.name);
        match behavior {
            Behavior::Finish => {
                attempt.finish();
                Ok(Outcome::Done)
            }
            Behavior::FinishLater => {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                attempt.finish();
                Ok(Outcome::Done)
            }
            Behavior::Ignore => {
                attempt.finish();
                Ok(Outcome::ignored("at random"))
            }
            Behavior::Fail => Err(Failure::retry("at random")),
            Behavior::FailWithRetryAfter => {
                Err(Failure::retry_in("at random", Duration::from_secs(1)))
            }
            Behavior::FailPermanently => {
                attempt.fail_permanently();
                Err(Failure::permanent("at random"))
            }
            Behavior::Panic => panic!("at random"),
            Behavior::Hang => std::future::pending().await,
        }
    }
}
