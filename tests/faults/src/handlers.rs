//! Handlers whose effects can be counted from outside, and poison.

use std::{
    collections::HashSet,
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use router_core::{
    Event, Failure, Object, Router, RouterBuilder, State,
    clock::{Clock as _, SystemClock},
    on_event,
};
use router_inbox::{
    Tx,
    sqlx::{Postgres, Sqlite, query},
};
use serde::Deserialize;

use crate::{
    crash::{Crashes, Point},
    options::{Handlers, Options},
};

/// What the handlers have.
#[derive(Clone)]
pub(crate) struct Shop {
    ledger: PathBuf,
    gate: PathBuf,
    crashes: Crashes,
    /// Events for which `shop.held` has failed, if it is to.
    failed: Option<Arc<Mutex<HashSet<String>>>>,
}

pub(crate) fn in_sqlite(which: Handlers, shop: Shop) -> RouterBuilder {
    let router = router(which, shop);
    router.add::<effect_in_sqlite>().add::<held_in_sqlite>()
}

pub(crate) fn in_postgres(which: Handlers, shop: Shop) -> RouterBuilder {
    let router = router(which, shop);
    router.add::<effect_in_postgres>().add::<held_in_postgres>()
}

/// There is no `Tx` there: all effects are elsewhere.
pub(crate) fn in_jetstream(which: Handlers, shop: Shop) -> RouterBuilder {
    router(which, shop).add::<held_elsewhere>()
}

fn router(which: Handlers, shop: Shop) -> RouterBuilder {
    let router = Router::builder().without_linked().state(shop).add::<ledger>();
    let router = router.add::<panics>().add::<aborts>().add::<hangs>().add::<blocks>();
    let router = router.add::<undecodable>();
    match which {
        Handlers::All => router,
        Handlers::Former => router.add::<former>(),
        Handlers::Renamed => router.add::<present>(),
    }
}

impl Shop {
    pub(crate) fn new(options: &Options, crashes: Crashes) -> Self {
        let failed = options.fail_first.then(Arc::default);
        Self { ledger: options.ledger.clone(), gate: options.gate.clone(), crashes, failed }
    }

    /// One line, on the disk before this returns.
    fn note(&self, handler: &str, event: &Event) -> Result<(), Failure> {
        let mut ledger = OpenOptions::new().append(true).create(true).open(&self.ledger)?;
        ledger.write_all(format!("{handler} {}\n", event.id()).as_bytes())?;
        ledger.sync_data()?;
        Ok(())
    }

    async fn wait(&self) {
        while !self.gate.exists() {
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
    }

    fn may_fail(&self, event: &Event) -> Result<(), Failure> {
        let Some(failed) = &self.failed else { return Ok(()) };
        match failed.lock().expect("nobody panics with it").insert(event.id().to_owned()) {
            true => Err(Failure::retry("the first time it fails")),
            false => Ok(()),
        }
    }
}

#[on_event(
    "invoice.paid",
    name = "shop.ledger",
    attempts = 100,
    backoff = "20ms",
    max_backoff = "100ms"
)]
async fn ledger(event: Event, shop: State<Shop>) -> Result<(), Failure> {
    shop.crashes.pass(Point::MidHandler);
    shop.note("shop.ledger", &event)
}

/// The same handlers in both databases.
macro_rules! handlers_with_tx {
    ($DB:ty, $effect:ident, $held:ident, held_after_writing: $after:literal) => {
        #[on_event(
            "invoice.paid",
            name = "shop.effect",
            attempts = 100,
            backoff = "20ms",
            max_backoff = "100ms"
        )]
        async fn $effect(event: Event, mut tx: Tx<$DB>, shop: State<Shop>) -> Result<(), Failure> {
            let insert = query("insert into effects (event, handler) values ($1, 'shop.effect')");
            insert.bind(event.id()).execute(tx.begin().await?).await?;
            shop.crashes.pass(Point::MidHandler);
            Ok(())
        }

        #[on_event(
            "invoice.updated",
            name = "shop.held",
            attempts = 100,
            backoff = "20ms",
            max_backoff = "100ms"
        )]
        async fn $held(event: Event, mut tx: Tx<$DB>, shop: State<Shop>) -> Result<(), Failure> {
            if !$after {
                shop.wait().await;
            }
            let insert = query("insert into effects (event, handler) values ($1, 'shop.held')");
            insert.bind(event.id()).execute(tx.begin().await?).await?;
            if $after {
                shop.wait().await;
            }
            shop.may_fail(&event)
        }
    };
}

// Whoever has written holds all others up there.
handlers_with_tx!(Sqlite, effect_in_sqlite, held_in_sqlite, held_after_writing: false);
handlers_with_tx!(Postgres, effect_in_postgres, held_in_postgres, held_after_writing: true);

/// The same without a `Tx`.
#[on_event(
    "invoice.updated",
    name = "shop.held",
    attempts = 100,
    backoff = "20ms",
    max_backoff = "100ms"
)]
async fn held_elsewhere(event: Event, shop: State<Shop>) -> Result<(), Failure> {
    shop.wait().await;
    shop.note("shop.held", &event)?;
    shop.may_fail(&event)
}

#[on_event("charge.failed", name = "poison.panics", attempts = 3, backoff = "20ms")]
async fn panics(_: Event) {
    panic!("poison");
}

#[on_event("charge.expired", name = "poison.aborts", attempts = 3, backoff = "20ms")]
async fn aborts(_: Event) {
    std::process::abort();
}

#[on_event(
    "charge.pending",
    name = "poison.hangs",
    attempts = 3,
    backoff = "20ms",
    timeout = "100ms"
)]
async fn hangs(_: Event) {
    std::future::pending::<()>().await;
}

#[on_event(
    "charge.updated",
    name = "poison.blocks",
    attempts = 3,
    backoff = "20ms",
    timeout = "100ms",
    blocking
)]
fn blocks(_: Event) {
    loop {
        std::thread::park();
    }
}

/// No customer has such an id.
#[derive(Deserialize)]
struct Customer {
    #[serde(rename = "id")]
    _id: u64,
}

#[on_event("customer.updated", name = "poison.undecodable", attempts = 3, backoff = "20ms")]
async fn undecodable(_: Object<Customer>) {}

#[on_event("invoice.sent", name = "shop.former", backoff = "20ms")]
async fn former(event: Event, shop: State<Shop>) -> Result<(), Failure> {
    shop.note("shop.former", &event)
}

#[on_event("invoice.sent", name = "shop.present", formerly = "shop.former", backoff = "20ms")]
async fn present(event: Event, shop: State<Shop>) -> Result<(), Failure> {
    shop.note("shop.present", &event)
}
