//! Fault injection: faults of networks and processes, drawn from a seed.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::watch;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    clock::{Clock, SystemClock, within},
    handler::BoxError,
};

/// A layer that injects the faults of networks and processes into calls.
///
/// It duplicates, delays and reorders calls, fails them before or after the work is done, and
/// disconnects during a call. Each fault has a probability, by default 0. All faults are drawn from
/// one seed, which a test should print so that a failure can be reproduced.
///
/// Around a [`Router`](crate::Router) it tests whether the handlers tolerate these faults:
///
/// ```
/// use router_core::{Event, Router, testing::Chaos};
/// use tower::Layer as _;
///
/// let router = Router::builder().handler("audit", ["*"], async |_: Event| {}).build()?;
/// let flaky = Chaos::new(42).duplicate(0.1).fail_after(0.05).layer(router);
/// # let _ = flaky;
/// # Ok::<(), router_core::build::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Chaos {
    faults: Faults,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

/// The probability of each fault, from 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    duplicate: f64,
    drop_answer: f64,
    delay: f64,
    up_to: Duration,
    reorder: f64,
    fail_before: f64,
    fail_after: f64,
}

/// State shared by all calls of one layer.
struct Shared {
    dice: Mutex<fastrand::Rng>,
    /// The number of calls passed to the inner service.
    passed: watch::Sender<u64>,
}

/// The faults drawn for one call.
struct Plan {
    delay: Option<Duration>,
    duplicate: bool,
    drop_answer: bool,
    reorder: bool,
    fail_before: bool,
    fail_after: bool,
}

/// The maximum time for which a call is held back for another to overtake it.
const MAX_HOLD: Duration = Duration::from_secs(1);

impl Chaos {
    /// Creates a layer that draws its faults from this seed. It injects none until a probability is
    /// set.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let dice = Mutex::new(fastrand::Rng::with_seed(seed));
        let shared = Shared { dice, passed: watch::Sender::new(0) };
        Self { faults: Faults::default(), shared: Arc::new(shared), clock: Arc::new(SystemClock) }
    }

    /// Makes the call twice, concurrently. The answer is that of the first call.
    #[must_use]
    pub fn duplicate(mut self, probability: f64) -> Self {
        self.faults.duplicate = probability;
        self
    }

    /// Drops the call as soon as its work has started, as if the client had disconnected. The
    /// answer is an error.
    #[must_use]
    pub fn drop_answer(mut self, probability: f64) -> Self {
        self.faults.drop_answer = probability;
        self
    }

    /// Delays the call by a time drawn between zero and `up_to`.
    #[must_use]
    pub fn delay(mut self, probability: f64, up_to: Duration) -> Self {
        (self.faults.delay, self.faults.up_to) = (probability, up_to);
        self
    }

    /// Holds the call back until another has overtaken it, for a second at most.
    #[must_use]
    pub fn reorder(mut self, probability: f64) -> Self {
        self.faults.reorder = probability;
        self
    }

    /// Fails the call before any of its work is done.
    #[must_use]
    pub fn fail_before(mut self, probability: f64) -> Self {
        self.faults.fail_before = probability;
        self
    }

    /// Fails the call after all of its work is done.
    #[must_use]
    pub fn fail_after(mut self, probability: f64) -> Self {
        self.faults.fail_after = probability;
        self
    }

    /// Sets the source of time. Default: the machine's clock.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    fn plan(&self) -> Plan {
        let mut dice = self.shared.dice.lock().unwrap_or_else(PoisonError::into_inner);
        // All faults are drawn for every call, so that the draws of a call do not depend on the
        // faults of earlier calls.
        let mut draw = |probability: f64| dice.f64() < probability;
        let Faults { duplicate, drop_answer, delay, up_to, reorder, fail_before, fail_after } =
            self.faults;
        let is_late = draw(delay);
        Plan {
            duplicate: draw(duplicate),
            drop_answer: draw(drop_answer),
            reorder: draw(reorder),
            fail_before: draw(fail_before),
            fail_after: draw(fail_after),
            delay: Some(up_to.mul_f64(dice.f64())).filter(|_| is_late),
        }
    }

    async fn call<S, R>(self, mut inner: S, request: R) -> Result<S::Response, BoxError>
    where
        S: Service<R, Error: Into<BoxError>> + Clone,
        R: Clone,
    {
        let plan = self.plan();
        if let Some(delay) = plan.delay {
            self.clock.sleep(delay).await;
        }
        if plan.reorder {
            self.wait_until_overtaken().await;
        }
        if plan.fail_before {
            return Err(Injected::Before.into());
        }
        self.shared.passed.send_modify(|passed| *passed += 1);
        let twin = plan.duplicate.then(|| (inner.clone(), request.clone()));
        let work = async {
            let duplicate = async {
                if let Some((mut inner, request)) = twin {
                    drop(ready_call(&mut inner, request).await);
                }
            };
            tokio::join!(ready_call(&mut inner, request), duplicate).0
        };
        let mut work = pin!(work);
        if plan.drop_answer {
            // Polls the work once, then drops it.
            let first_poll = poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_ready()));
            first_poll.await;
            return Err(Injected::HungUp.into());
        }
        match work.await {
            _ if plan.fail_after => Err(Injected::After.into()),
            answer => answer.map_err(Into::into),
        }
    }

    async fn wait_until_overtaken(&self) {
        let mut passed = self.shared.passed.subscribe();
        let _ = within(MAX_HOLD, &*self.clock, pin!(passed.changed())).await;
    }
}

async fn ready_call<S: Service<R>, R>(
    service: &mut S,
    request: R,
) -> Result<S::Response, S::Error> {
    poll_fn(|context| service.poll_ready(context)).await?;
    service.call(request).await
}

impl<S> Layer<S> for Chaos {
    type Service = ChaosService<S>;

    fn layer(&self, inner: S) -> ChaosService<S> {
        ChaosService { inner, chaos: self.clone() }
    }
}

/// A service wrapped by [`Chaos`].
#[derive(Debug, Clone)]
pub struct ChaosService<S> {
    inner: S,
    chaos: Chaos,
}

impl<S, R> Service<R> for ChaosService<S>
where
    S: Service<R, Error: Into<BoxError>> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    R: Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    /// Always ready. The call itself waits until the inner service is ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        Box::pin(self.chaos.clone().call(self.inner.clone(), request))
    }
}

/// The error of a call that [`Chaos`] has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Injected {
    /// The call was not made.
    #[error("injected: failed before the call")]
    Before,
    /// The call was made, and its answer was discarded.
    #[error("injected: failed after the call")]
    After,
    /// The call was started, and dropped before its answer.
    #[error("injected: hung up during the call")]
    HungUp,
}

impl fmt::Debug for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos").field("faults", &self.faults).finish_non_exhaustive()
    }
}
