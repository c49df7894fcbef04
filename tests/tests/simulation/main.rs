//! A thousand events through real connections, with every fault that we know: whatever happens, each
//! handler finishes each event once.
//!
//! All chances are drawn from a seed that is printed; `SIMULATION_SEED=… cargo test --test simulation`
//! repeats them. (What the operating system does with connections is not repeated.)

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

use crate::{
    shop::{HANDLERS, Shop},
    stripe::Stripe,
};

const EVENTS: u32 = 1000;

/// How long a handler may take; one that hangs is given up then.
const TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn each_handler_finishes_each_event_once_whatever_happens() {
    let seed = match std::env::var("SIMULATION_SEED") {
        Ok(seed) => seed.parse().expect("SIMULATION_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("SIMULATION_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);

    let clock = ManualClock::at(now());
    let shop = Arc::new(Shop::new(dice.fork()));
    let mut router = Router::builder().handler_timeout(TIMEOUT).clock(clock.clone());
    for name in HANDLERS {
        router = router.handler(name, ["*"], shop.handler(name));
    }
    let router = router.build().unwrap();
    let chaos = Chaos::new(dice.u64(..))
        .duplicate(0.05)
        .drop_answer(0.05)
        .delay(0.05, TIMEOUT)
        .reorder(0.05)
        .fail_before(0.05)
        .fail_after(0.05)
        .clock(clock.clone());
    let endpoint = Endpoint::new(secret(), chaos.layer(router.clone())).clock(clock.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The server's own timers are not what is tried here: it has the machine's clock.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(Server::new(endpoint).serve(listener, async {
        drop(stopped.await);
    }));
    let time = tokio::spawn(time_goes_on(clock.clone(), dice.fork()));

    let stripe = Stripe::new(address, clock.clone());
    let deliveries = stripe.deliver_all(EVENTS, &mut dice).await;

    stop.send(()).unwrap();
    served.await.unwrap();
    router.close();
    router.drained().await;
    time.abort();

    let passed = clock.wall().duration_since(now()).unwrap();
    println!("{deliveries} deliveries in {passed:?} of simulated time; {}", shop.summary());
    assert!(passed < Duration::from_secs(72 * 3600), "the memory forgets after this time");
    shop.each_has_finished_once(EVENTS);
}

/// Moves the clock while somebody waits for it, in steps that are small beside a timeout, so that a
/// handler which only yields is seldom given up, and one that hangs always is.
async fn time_goes_on(clock: ManualClock, mut dice: fastrand::Rng) {
    loop {
        clock.wait_for_sleeper().await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        clock.advance(TIMEOUT.mul_f64(dice.f64() / 8.0));
    }
}
