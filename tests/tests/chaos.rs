//! The layer that makes faults makes those that it was asked for.

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

/// A service of numbers that notes each when it begins and when it is done.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<String>>>);

impl Noted {
    fn add(&self, note: String) {
        self.0.lock().expect("nobody panics").push(note);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics"))
    }

    fn under(
        &self,
        chaos: Chaos,
    ) -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + use<> {
        let notes = self.clone();
        chaos.layer(service_fn(move |number: u32| {
            let notes = notes.clone();
            async move {
                notes.add(format!("{number} begins"));
                tokio::task::yield_now().await;
                notes.add(format!("{number} ends"));
                Ok::<_, BoxError>(number)
            }
        }))
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn injected(answer: Result<u32, BoxError>) -> Injected {
    *answer.expect_err("it is a fault").downcast().expect("it was made on purpose")
}

#[tokio::test]
async fn without_a_fault_it_changes_nothing() {
    let notes = Noted::default();
    assert_eq!(notes.under(Chaos::new(1)).oneshot(7).await.unwrap(), 7);
    assert_eq!(notes.take(), ["7 begins", "7 ends"]);
}

#[tokio::test]
async fn a_call_fails_before_or_after_its_work_or_is_left_in_the_middle_or_made_twice() {
    let notes = Noted::default();
    let before = notes.under(Chaos::new(1).fail_before(1.0));
    assert_eq!(injected(before.oneshot(7).await), Injected::Before);
    assert!(notes.take().is_empty());

    let after = notes.under(Chaos::new(1).fail_after(1.0));
    assert_eq!(injected(after.oneshot(7).await), Injected::After);
    assert_eq!(notes.take(), ["7 begins", "7 ends"]);

    let hung_up = notes.under(Chaos::new(1).drop_answer(1.0));
    assert_eq!(injected(hung_up.oneshot(7).await), Injected::HungUp);
    assert_eq!(notes.take(), ["7 begins"]);

    let twice = notes.under(Chaos::new(1).duplicate(1.0));
    assert_eq!(twice.oneshot(7).await.unwrap(), 7);
    assert_eq!(notes.take(), ["7 begins", "7 begins", "7 ends", "7 ends"]);
}

#[tokio::test]
async fn a_call_that_is_delayed_or_held_back_comes_later() {
    let (notes, clock) = (Noted::default(), ManualClock::at(now()));
    let up_to = Duration::from_secs(10);
    let mut late = notes.under(Chaos::new(1).delay(1.0, up_to).clock(clock.clone()));
    let mut call = pin!(late.call(7));
    assert!(poll(call.as_mut()).is_pending());
    assert!(notes.take().is_empty());
    clock.advance(up_to);
    assert_eq!(call.await.unwrap(), 7);

    notes.take();
    // About half of them are held back, until one of the others passes.
    let mut reordered = notes.under(Chaos::new(3).reorder(0.5).clock(clock.clone()));
    let calls = (0..20).map(|number| tokio::spawn(reordered.call(number)));
    let calls: Vec<_> = calls.collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(1));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let begun: Vec<u32> = (notes.take().iter())
        .filter_map(|note| note.strip_suffix(" begins")?.parse().ok())
        .collect();
    assert_eq!(begun.len(), 20);
    assert!(!begun.is_sorted(), "{begun:?}");
}

#[tokio::test]
async fn one_seed_makes_the_same_faults_each_time() {
    let faults = async |seed| {
        let mut service = Noted::default().under(Chaos::new(seed).fail_before(0.3).fail_after(0.3));
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
