//! What networks and processes do to events, on purpose and by a seed.

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

/// A layer that does to calls what networks and processes do to them: it duplicates, delays and
/// reorders them, fails them before or after the work is done, and hangs up. Each fault has a
/// probability, 0 by default, and all are drawn from one seed, which a test prints so that its failure can
/// be repeated.
///
/// Around a [`Router`](crate::Router) it shows whether the handlers mind:
///
/// ```
/// use router_core::{Event, Router, testing::Chaos};
/// use tower::Layer as _;
///
/// let router = Router::builder().handler("audit", ["*"], async |_: Event| {}).build()?;
/// let flaky = Chaos::new(42).duplicate(0.1).fail_after(0.05).layer(router);
/// # let _ = flaky;
/// # Ok::<(), router_core::BuildError>(())
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

/// What the calls of one layer have in common.
struct Shared {
    dice: Mutex<fastrand::Rng>,
    /// How many calls were let through.
    passed: watch::Sender<u64>,
}

/// The faults of one call.
struct Plan {
    delay: Option<Duration>,
    duplicate: bool,
    drop_answer: bool,
    reorder: bool,
    fail_before: bool,
    fail_after: bool,
}

/// How long a call that is held back waits for another to overtake it.
const PATIENCE: Duration = Duration::from_secs(1);

impl Chaos {
    /// No fault yet; those that follow are drawn from this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let dice = Mutex::new(fastrand::Rng::with_seed(seed));
        let shared = Shared { dice, passed: watch::Sender::new(0) };
        Self { faults: Faults::default(), shared: Arc::new(shared), clock: Arc::new(SystemClock) }
    }

    /// The call is made twice, at once; the answer is that of the first.
    #[must_use]
    pub fn duplicate(mut self, probability: f64) -> Self {
        self.faults.duplicate = probability;
        self
    }

    /// Whoever called hangs up as soon as the work has begun, and the answer is an error.
    #[must_use]
    pub fn drop_answer(mut self, probability: f64) -> Self {
        self.faults.drop_answer = probability;
        self
    }

    /// The call is made later, after a time that is drawn from zero to `up_to`.
    #[must_use]
    pub fn delay(mut self, probability: f64, up_to: Duration) -> Self {
        (self.faults.delay, self.faults.up_to) = (probability, up_to);
        self
    }

    /// The call is held back until another has overtaken it, or for a second.
    #[must_use]
    pub fn reorder(mut self, probability: f64) -> Self {
        self.faults.reorder = probability;
        self
    }

    /// The call is an error, and nothing was done.
    #[must_use]
    pub fn fail_before(mut self, probability: f64) -> Self {
        self.faults.fail_before = probability;
        self
    }

    /// The call is an error, and everything was done.
    #[must_use]
    pub fn fail_after(mut self, probability: f64) -> Self {
        self.faults.fail_after = probability;
        self
    }

    /// Where time comes from; the machine's clock by default.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    fn plan(&self) -> Plan {
        let mut dice = self.shared.dice.lock().unwrap_or_else(PoisonError::into_inner);
        // All are drawn each time, so that what one call gets does not depend on another's faults.
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
            self.overtaken().await;
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
            // Begun, and dropped.
            let begin = poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_ready()));
            begin.await;
            return Err(Injected::HungUp.into());
        }
        match work.await {
            _ if plan.fail_after => Err(Injected::After.into()),
            answer => answer.map_err(Into::into),
        }
    }

    async fn overtaken(&self) {
        let mut passed = self.shared.passed.subscribe();
        let _ = within(PATIENCE, &*self.clock, pin!(passed.changed())).await;
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

/// A service under [`Chaos`].
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

    /// Always: the service itself is asked when the call is made.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        Box::pin(self.chaos.clone().call(self.inner.clone(), request))
    }
}

/// A fault that [`Chaos`] has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Injected {
    /// The call was not made.
    #[error("injected: failed before the call")]
    Before,
    /// The call was made, and its answer thrown away.
    #[error("injected: failed after the call")]
    After,
    /// The call was begun, and nobody waited for its answer.
    #[error("injected: hung up during the call")]
    HungUp,
}

impl fmt::Debug for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos").field("faults", &self.faults).finish_non_exhaustive()
    }
}
