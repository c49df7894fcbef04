//! A simulation that sends a thousand events through real connections and injects faults. Every
//! handler must finish every event exactly once.
//!
//! The test prints the seed of its random numbers. `SIMULATION_SEED=… cargo test --test requests
//! simulation` repeats them, except for the operating system's timing of connections.

mod shop;
mod stripe;

use std::{sync::Arc, time::Duration};

use router_core::{
    Endpoint, Router,
    clock::Clock as _,
    server::Server,
    testing::{Chaos, ManualClock},
};
use router_tests::{now, secret};
use tokio::net::TcpListener;
use tower::Layer as _;

use self::{
    shop::{HANDLERS, Shop},
    stripe::Stripe,
};

const EVENTS: u32 = 1000;

/// Timeout of the handlers, so that an attempt that hangs fails.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn every_handler_finishes_every_event_once() {
    let seed = match std::env::var("SIMULATION_SEED") {
        Ok(seed) => seed.parse().expect("SIMULATION_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("SIMULATION_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);

    let clock = ManualClock::at(now());
    let shop = Arc::new(Shop::new(rng.fork()));
    let mut router = Router::builder().handler_timeout(HANDLER_TIMEOUT).clock(clock.clone());
    for name in HANDLERS {
        router = router.handler(name, ["*"], shop.handler(name));
    }
    let router = router.build().unwrap();
    let chaos = Chaos::new(rng.u64(..))
        .duplicate(0.05)
        .drop_answer(0.05)
        .delay(0.05, HANDLER_TIMEOUT)
        .reorder(0.05)
        .fail_before(0.05)
        .fail_after(0.05)
        .clock(clock.clone());
    let endpoint = Endpoint::new(secret(), chaos.layer(router.clone())).clock(clock.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The server's own timers are not tested here, so it keeps the system clock.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(Server::new(endpoint).serve(listener, async {
        drop(stopped.await);
    }));
    let clock_task = tokio::spawn(advance_clock(clock.clone(), rng.fork()));

    let stripe = Stripe::new(address, clock.clone());
    let deliveries = stripe.deliver_all(EVENTS, &mut rng).await;

    stop.send(()).unwrap();
    served.await.unwrap();
    router.close();
    router.drained().await;
    clock_task.abort();

    let passed = clock.wall().duration_since(now()).unwrap();
    println!("{deliveries} deliveries in {passed:?} of simulated time; {}", shop.summary());
    assert!(
        passed < Duration::from_secs(72 * 3600),
        "longer than the retention of the completion store, so events may run again"
    );
    shop.assert_each_finished_once(EVENTS);
}

/// Advances the clock whenever a task sleeps. The steps are short compared to the timeout, so that
/// attempts that only yield rarely time out, while attempts that hang always do.
async fn advance_clock(clock: ManualClock, mut rng: fastrand::Rng) {
    loop {
        clock.wait_for_sleeper().await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        clock.advance(HANDLER_TIMEOUT.mul_f64(rng.f64() / 8.0));
    }
}
