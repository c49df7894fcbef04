//! The handlers: each fails in its own ways before it finishes an event.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use router_core::{Event, Failure, Handler, HandlerResult, Outcome};

pub(crate) const HANDLERS: [&str; 3] = ["orders", "receipts", "audit"];

/// What a handler does in one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Act {
    Finish,
    /// It waits a little first.
    FinishLater,
    Ignore,
    Fail,
    FailForAWhile,
    Die,
    Panic,
    Hang,
}

pub(crate) struct Shop(Mutex<State>);

struct State {
    dice: fastrand::Rng,
    /// Of each event and handler.
    seen: HashMap<(String, &'static str), Seen>,
    acts: HashMap<Act, u32>,
    /// What must not happen and has: a panic here would be taken for the handler's.
    wrong: Vec<String>,
}

#[derive(Debug, Default)]
struct Seen {
    attempts: u32,
    running: bool,
    finished: u32,
}

/// One of the handlers.
struct OfShop {
    shop: Arc<Shop>,
    name: &'static str,
}

/// An attempt that runs, also if it is dropped in the middle.
struct Attempt<'s> {
    shop: &'s Shop,
    key: (String, &'static str),
}

impl Shop {
    pub(crate) fn new(dice: fastrand::Rng) -> Self {
        let (seen, acts, wrong) = (HashMap::new(), HashMap::new(), Vec::new());
        Self(Mutex::new(State { dice, seen, acts, wrong }))
    }

    pub(crate) fn handler(self: &Arc<Self>, name: &'static str) -> impl Handler + use<> {
        OfShop { shop: self.clone(), name }
    }

    pub(crate) fn summary(&self) -> String {
        let state = self.state();
        let mut acts: Vec<_> = state.acts.iter().collect();
        acts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        acts.iter().fold(String::new(), |mut text, (act, count)| {
            let _ = write!(text, "{act:?} {count} ");
            text
        })
    }

    pub(crate) fn each_has_finished_once(&self, events: u32) {
        let state = self.state();
        assert!(state.wrong.is_empty(), "{:#?}", state.wrong);
        assert_eq!(state.seen.len(), events as usize * HANDLERS.len());
        for (key, seen) in &state.seen {
            assert_eq!(seen.finished, 1, "{key:?}: {seen:?}");
        }
        for act in [Act::FinishLater, Act::Ignore, Act::Fail, Act::Die, Act::Panic, Act::Hang] {
            assert!(state.acts.contains_key(&act), "nothing is shown without {act:?}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while it is locked")
    }

    fn begin(&self, event: &Event, name: &'static str) -> (Attempt<'_>, Act) {
        let key = (event.id().to_owned(), name);
        let state = &mut *self.state();
        let roll = state.dice.u8(..100);
        let seen = state.seen.entry(key.clone()).or_default();
        if seen.running || seen.finished > 0 {
            state.wrong.push(format!("{key:?} runs beside or after itself: {seen:?}"));
        }
        seen.running = true;
        seen.attempts += 1;
        let act = match roll {
            // Not for ever.
            _ if seen.attempts > 6 => Act::Finish,
            0..40 => Act::Finish,
            40..60 => Act::FinishLater,
            60..65 => Act::Ignore,
            65..75 => Act::Fail,
            75..80 => Act::FailForAWhile,
            80..85 => Act::Die,
            85..93 => Act::Panic,
            _ => Act::Hang,
        };
        *state.acts.entry(act).or_default() += 1;
        (Attempt { shop: self, key }, act)
    }
}

impl Attempt<'_> {
    fn finish(&self) {
        self.shop.state().seen.get_mut(&self.key).expect("it has begun").finished += 1;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(seen) = self.shop.state().seen.get_mut(&self.key) {
            seen.running = false;
        }
    }
}

#[async_trait::async_trait]
impl Handler for OfShop {
    async fn call(&self, event: Event) -> HandlerResult {
        let (attempt, act) = self.shop.begin(&event, self.name);
        match act {
            Act::Finish => {
                attempt.finish();
                Ok(Outcome::Done)
            }
            Act::FinishLater => {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                attempt.finish();
                Ok(Outcome::Done)
            }
            Act::Ignore => {
                attempt.finish();
                Ok(Outcome::ignored("by chance"))
            }
            Act::Fail => Err(Failure::retry("by chance")),
            Act::FailForAWhile => Err(Failure::retry_in("by chance", Duration::from_secs(1))),
            Act::Die => {
                attempt.finish();
                Err(Failure::permanent("by chance"))
            }
            Act::Panic => panic!("by chance"),
            Act::Hang => std::future::pending().await,
        }
    }
}
