//! The handler of the shop, whose behavior in each run the test sets.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use router_core::{Event, Failure, Outcome, Router, State, build::RouterBuilder, on_event};
use tokio::sync::Notify;

/// The behavior of the handler in a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Step {
    #[default]
    Finish,
    Ignore,
    Retry,
    FailPermanently,
    /// Waits for [`Script::release`], then finishes.
    Hold,
}

/// The handlers of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Handlers {
    /// Before `shop.fulfil` was written.
    Other,
    Fulfil,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    step: Mutex<Step>,
    /// The payload of each run.
    runs: Mutex<Vec<Bytes>>,
    started: Notify,
    released: Notify,
}

impl Script {
    pub(crate) fn set(&self, step: Step) {
        *lock(&self.0.step) = step;
    }

    pub(crate) fn runs(&self) -> Vec<Bytes> {
        lock(&self.0.runs).clone()
    }

    pub(crate) async fn started(&self) {
        self.0.started.notified().await;
    }

    pub(crate) fn release(&self) {
        self.0.released.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds the lock")
}

#[on_event("customer.created", "v1.customer.created", "customer.updated", name = "shop.fulfil")]
async fn fulfil(event: Event, script: State<Script>) -> Result<Outcome, Failure> {
    let step = *lock(&script.0.0.step);
    lock(&script.0.0.runs).push(event.payload().clone());
    script.0.0.started.notify_one();
    match step {
        Step::Finish => Ok(Outcome::Done),
        Step::Ignore => Ok(Outcome::ignored("not for this shop")),
        Step::Retry => {
            let hour = std::time::Duration::from_secs(60 * 60);
            Err(Failure::retry_in("the warehouse is down", hour))
        }
        Step::FailPermanently => Err(Failure::permanent("the order is unknown")),
        Step::Hold => {
            script.0.0.released.notified().await;
            Ok(Outcome::Done)
        }
    }
}

#[on_event("customer.deleted", name = "shop.other")]
async fn other() {}

/// Returns the builder of a router with these handlers.
pub(crate) fn router(handlers: Handlers, script: &Script) -> RouterBuilder {
    let router = Router::builder().without_linked().state(script.clone()).add::<other>();
    match handlers {
        Handlers::Other => router,
        Handlers::Fulfil => router.add::<fulfil>(),
    }
}

/// Lets the other tasks run until each of them waits for something.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
