//! The [`Chaos`] layer injects the configured faults and no others.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use router_core::{
    BoxError,
    testing::{Chaos, Injected, ManualClock},
};
use router_tests::now;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

/// A service that returns its number and records the start and the end of each call.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn add(&self, entry: String) {
        self.0.lock().expect("no call panics").push(entry);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no call panics"))
    }

    /// Returns the service inside the `chaos` layer.
    fn inside(
        &self,
        chaos: Chaos,
    ) -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + use<> {
        let recorder = self.clone();
        chaos.layer(service_fn(move |number: u32| {
            let recorder = recorder.clone();
            async move {
                recorder.add(format!("{number} starts"));
                tokio::task::yield_now().await;
                recorder.add(format!("{number} ends"));
                Ok::<_, BoxError>(number)
            }
        }))
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn injected(answer: Result<u32, BoxError>) -> Injected {
    *answer.expect_err("the call fails").downcast().expect("the error was injected")
}

#[tokio::test]
async fn chaos_without_faults_changes_nothing() {
    let recorder = Recorder::default();
    assert_eq!(recorder.inside(Chaos::new(1)).oneshot(7).await.unwrap(), 7);
    assert_eq!(recorder.take(), ["7 starts", "7 ends"]);
}

#[tokio::test]
async fn chaos_injects_the_configured_fault() {
    let recorder = Recorder::default();
    let before = recorder.inside(Chaos::new(1).fail_before(1.0));
    assert_eq!(injected(before.oneshot(7).await), Injected::Before);
    assert!(recorder.take().is_empty());

    let after = recorder.inside(Chaos::new(1).fail_after(1.0));
    assert_eq!(injected(after.oneshot(7).await), Injected::After);
    assert_eq!(recorder.take(), ["7 starts", "7 ends"]);

    let disconnected = recorder.inside(Chaos::new(1).drop_answer(1.0));
    assert_eq!(injected(disconnected.oneshot(7).await), Injected::HungUp);
    assert_eq!(recorder.take(), ["7 starts"]);

    let twice = recorder.inside(Chaos::new(1).duplicate(1.0));
    assert_eq!(twice.oneshot(7).await.unwrap(), 7);
    assert_eq!(recorder.take(), ["7 starts", "7 starts", "7 ends", "7 ends"]);
}

#[tokio::test]
async fn delayed_or_reordered_call_runs_later() {
    let (recorder, clock) = (Recorder::default(), ManualClock::at(now()));
    let up_to = Duration::from_secs(10);
    let mut delayed = recorder.inside(Chaos::new(1).delay(1.0, up_to).clock(clock.clone()));
    let mut call = pin!(delayed.call(7));
    assert!(poll(call.as_mut()).is_pending());
    assert!(recorder.take().is_empty());
    clock.advance(up_to);
    assert_eq!(call.await.unwrap(), 7);

    recorder.take();
    // About half of the calls are held back until another call has overtaken them.
    let mut reordered = recorder.inside(Chaos::new(3).reorder(0.5).clock(clock.clone()));
    let calls = (0..20).map(|number| tokio::spawn(reordered.call(number)));
    let calls: Vec<_> = calls.collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(1));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let started: Vec<u32> = (recorder.take().iter())
        .filter_map(|entry| entry.strip_suffix(" starts")?.parse().ok())
        .collect();
    assert_eq!(started.len(), 20);
    assert!(!started.is_sorted(), "{started:?}");
}

#[tokio::test]
async fn same_seed_injects_the_same_faults() {
    let faults = async |seed| {
        let mut service =
            Recorder::default().inside(Chaos::new(seed).fail_before(0.3).fail_after(0.3));
        let mut faults = Vec::new();
        for number in 0..50 {
            faults.push(service.call(number).await.is_ok());
        }
        faults
    };
    let first = faults(1).await;
    assert!(first.contains(&true) && first.contains(&false));
    assert_eq!(first, faults(1).await);
    assert_ne!(first, faults(2).await);
}
