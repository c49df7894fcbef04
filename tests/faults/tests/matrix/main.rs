//! An inbox in processes that die, stand still, lose their store or are told to stop: whatever happens, what was
//! acknowledged is in the store; what a handler writes in its `Tx` is there once, and what it does elsewhere at least
//! once, and never more often than it was tried; and only poison is a dead letter.
//!
//! All chances are drawn from a seed that is printed; `FAULT_SEED=… cargo test -p router-faults` repeats them, and
//! `FAULT_ROUNDS=…` goes on for longer. (What the operating system does is not repeated.)

mod cluster;
mod crashes;
mod database;
mod full;
mod jetstream;
#[path = "../../../../router-inbox/tests/support/nats.rs"]
#[allow(dead_code, reason = "not every program needs all of it")]
mod nats;
mod outages;
mod poison;
#[path = "../../../../router-inbox/tests/support/postgres.rs"]
#[allow(dead_code, reason = "not every program needs all of it")]
mod postgres;
mod process;
mod shop;
mod stripe;
mod together;
mod versions;

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};

/// The test in a shop with its inbox in SQLite, in PostgreSQL, and in NATS JetStream; those after the semicolon in the
/// databases alone.
macro_rules! on_each_store {
    ($($test:ident),* $(,)? $(; $($in_database:ident),* $(,)?)?) => {
        crate::on_each_database!($($test,)* $($($in_database,)*)?);
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

/// Chances, and how to repeat them.
fn dice() -> fastrand::Rng {
    let seed = match std::env::var("FAULT_SEED") {
        Ok(seed) => seed.parse().expect("FAULT_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("FAULT_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// How often to repeat what is by chance.
fn rounds() -> u32 {
    let rounds = std::env::var("FAULT_ROUNDS").ok();
    rounds.map_or(1, |rounds| rounds.parse().expect("FAULT_ROUNDS is a number"))
}

/// What is waited for comes, on a busy machine too.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::select! {
        value = future => value,
        () = SystemClock.sleep(Duration::from_secs(60)) => panic!("{what} was waited for in vain"),
    }
}

/// Looks until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let so = async {
        while !is_so().await {
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    };
    soon(what, so).await;
}
