//! Fault tests of the inbox, in processes that crash, are suspended, are shut down, or lose their
//! store. After each fault they check that
//!
//! - every acknowledged event is in the store;
//! - a handler's effects in its `Tx` have happened exactly once;
//! - its other effects have happened at least once, and at most once per attempt;
//! - only the events of poisoned handlers are dead letters.
//!
//! Random choices come from a seed that is printed. `FAULT_SEED=… cargo test -p router-faults`
//! repeats them, apart from the operating system's scheduling. `FAULT_ROUNDS=…` sets the number
//! of rounds (1, or 2 with the feature `long`).
//!
//! The tests that are the same for each store run on SQLite. With the feature `long` they also run
//! on PostgreSQL and NATS JetStream, as in `.ci/check extra`.
//!
//! `day/` tests the plugins `shop` and `shop-mail` in the same way, with a ledger of its own.

mod answers;
mod cluster;
mod crashes;
mod database;
mod day;
mod full;
mod jetstream;
mod outages;
mod poison;
mod process;
mod shop;
mod silence;
mod stripe;
mod together;
mod versions;

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};

/// Defines each test for SQLite, PostgreSQL and NATS JetStream; the tests after the semicolon only
/// for the two databases.
macro_rules! on_each_store {
    ($($test:ident),* $(,)? $(; $($in_database:ident),* $(,)?)?) => {
        crate::on_each_database!($($test,)* $($($in_database,)*)?);
        #[cfg(feature = "long")]
        mod on_jetstream {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    if let Some(shop) = crate::shop::Shop::on_jetstream().await {
                        super::$test(shop).await;
                    }
                }
            )*
        }
    };
}

/// Defines each test for SQLite and PostgreSQL.
macro_rules! on_each_database {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(crate::shop::Shop::on_sqlite().await).await;
                }
            )*
        }
        #[cfg(feature = "long")]
        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    if let Some(shop) = crate::shop::Shop::on_postgres().await {
                        super::$test(shop).await;
                    }
                }
            )*
        }
    };
}
pub(crate) use {on_each_database, on_each_store};

/// Returns a random number generator, and prints its seed.
fn seeded_rng() -> fastrand::Rng {
    let seed = match std::env::var("FAULT_SEED") {
        Ok(seed) => seed.parse().expect("FAULT_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("FAULT_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Returns the number of rounds of a randomized test.
fn rounds() -> u32 {
    let rounds = std::env::var("FAULT_ROUNDS").ok();
    let default = if cfg!(feature = "long") { 2 } else { 1 };
    rounds.map_or(default, |rounds| rounds.parse().expect("FAULT_ROUNDS is a number"))
}

/// Limit for anything that a test waits for. Generous, for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits for a future. Panics with its description after [`TIMEOUT`].
async fn with_timeout<T>(description: &str, future: impl Future<Output = T>) -> T {
    tokio::select! {
        value = future => value,
        () = SystemClock.sleep(TIMEOUT) => panic!("timed out waiting for: {description}"),
    }
}

/// Polls a condition until it holds. Panics with its description after [`TIMEOUT`].
async fn wait_until(description: &str, mut condition: impl AsyncFnMut() -> bool) {
    let polling = async {
        while !condition().await {
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    };
    with_timeout(description, polling).await;
}
