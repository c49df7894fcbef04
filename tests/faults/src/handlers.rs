//! Handlers with effects that the tests can count, and handlers that fail in various ways.

use std::{
    collections::HashSet,
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use router_core::{
    Event, Failure, Object, Router, State,
    build::RouterBuilder,
    clock::{Clock as _, SystemClock},
    on_event,
};
use router_inbox::{
    Tx,
    sqlx::{Postgres, Sqlite, query},
};
use serde::Deserialize;

use crate::{
    crash::{CrashPoint, CrashSwitch},
    options::{Handlers, Options},
};

/// The handlers' state.
#[derive(Clone)]
pub(crate) struct Shop {
    ledger: PathBuf,
    gate: PathBuf,
    crash_switch: CrashSwitch,
    /// The ids of the events for which `shop.held` has failed; `None` if it should not fail.
    failed: Option<Arc<Mutex<HashSet<String>>>>,
}

pub(crate) fn in_sqlite(handlers: Handlers, shop: Shop) -> RouterBuilder {
    let router = router(handlers, shop);
    router.add::<effect_in_sqlite>().add::<held_in_sqlite>().add::<checkout_in_sqlite>()
}

pub(crate) fn in_postgres(handlers: Handlers, shop: Shop) -> RouterBuilder {
    let router = router(handlers, shop);
    router.add::<effect_in_postgres>().add::<held_in_postgres>().add::<checkout_in_postgres>()
}

/// JetStream has no `Tx`, so all effects are in the ledger.
pub(crate) fn in_jetstream(handlers: Handlers, shop: Shop) -> RouterBuilder {
    router(handlers, shop).add::<held_in_ledger>().add::<checkout_in_ledger>()
}

fn router(handlers: Handlers, shop: Shop) -> RouterBuilder {
    let router = Router::builder().without_linked().state(shop).add::<ledger>();
    let router = router.add::<panics>().add::<aborts>().add::<hangs>().add::<blocks>();
    let router = router.add::<undecodable>();
    match handlers {
        Handlers::All => router,
        Handlers::Former => router.add::<former>(),
        Handlers::Renamed => router.add::<present>(),
    }
}

impl Shop {
    pub(crate) fn new(options: &Options, crash_switch: CrashSwitch) -> Self {
        let failed = options.fail_first.then(Arc::default);
        Self { ledger: options.ledger.clone(), gate: options.gate.clone(), crash_switch, failed }
    }

    /// Appends a line to the ledger and syncs it.
    fn record(&self, handler: &str, event: &Event) -> Result<(), Failure> {
        let mut ledger = OpenOptions::new().append(true).create(true).open(&self.ledger)?;
        ledger.write_all(format!("{handler} {}\n", event.id()).as_bytes())?;
        ledger.sync_data()?;
        Ok(())
    }

    /// Waits until the gate is open.
    async fn wait_for_gate(&self) {
        while !self.gate.exists() {
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the gate is open, if the payment was asynchronous.
    async fn wait_for_gate_if_async(&self, event: &Event) {
        if event.event_type() == "checkout.session.async_payment_succeeded" {
            self.wait_for_gate().await;
        }
    }

    /// Fails the first time for each event, if `--fail-first` is given.
    fn fail_first_run(&self, event: &Event) -> Result<(), Failure> {
        let Some(failed) = &self.failed else { return Ok(()) };
        match failed.lock().expect("lock is not poisoned").insert(event.id().to_owned()) {
            true => Err(Failure::retry("injected failure of the first run")),
            false => Ok(()),
        }
    }
}

#[on_event(
    "invoice.paid",
    name = "shop.ledger",
    retry(max_attempts = 100, backoff = "20ms", max_backoff = "100ms")
)]
async fn ledger(event: Event, shop: State<Shop>) -> Result<(), Failure> {
    shop.crash_switch.reach(CrashPoint::MidHandler);
    shop.record("shop.ledger", &event)
}

/// Defines the handlers with a `Tx` for a database.
macro_rules! handlers_with_tx {
    ($DB:ty, $effect:ident, $held:ident, $checkout:ident, waits_after_writing: $after:literal) => {
        #[on_event(
            "invoice.paid",
            name = "shop.effect",
            retry(max_attempts = 100, backoff = "20ms", max_backoff = "100ms")
        )]
        async fn $effect(event: Event, mut tx: Tx<$DB>, shop: State<Shop>) -> Result<(), Failure> {
            let insert = query("insert into effects (event, handler) values ($1, 'shop.effect')");
            insert.bind(event.id()).execute(tx.begin().await?).await?;
            shop.crash_switch.reach(CrashPoint::MidHandler);
            Ok(())
        }

        #[on_event(
            "invoice.updated",
            name = "shop.held",
            retry(max_attempts = 100, backoff = "20ms", max_backoff = "100ms")
        )]
        async fn $held(event: Event, mut tx: Tx<$DB>, shop: State<Shop>) -> Result<(), Failure> {
            if !$after {
                shop.wait_for_gate().await;
            }
            let insert = query("insert into effects (event, handler) values ($1, 'shop.held')");
            insert.bind(event.id()).execute(tx.begin().await?).await?;
            if $after {
                shop.wait_for_gate().await;
            }
            shop.fail_first_run(&event)
        }

        #[on_event(
            "checkout.session.completed",
            "checkout.session.async_payment_succeeded",
            name = "shop.checkout",
            retry(max_attempts = 100, backoff = "20ms", max_backoff = "100ms"),
            answer_after = "8s"
        )]
        async fn $checkout(
            event: Event,
            mut tx: Tx<$DB>,
            shop: State<Shop>,
        ) -> Result<(), Failure> {
            shop.wait_for_gate_if_async(&event).await;
            let insert = query("insert into effects (event, handler) values ($1, 'shop.checkout')");
            insert.bind(event.id()).execute(tx.begin().await?).await?;
            Ok(())
        }
    };
}

// In SQLite the gate comes first: a handler that has written blocks all other writers.
handlers_with_tx!(
    Sqlite, effect_in_sqlite, held_in_sqlite, checkout_in_sqlite, waits_after_writing: false
);
handlers_with_tx!(
    Postgres, effect_in_postgres, held_in_postgres, checkout_in_postgres, waits_after_writing: true
);

/// The handler `shop.held` without a `Tx`.
#[on_event(
    "invoice.updated",
    name = "shop.held",
    retry(max_attempts = 100, backoff = "20ms", max_backoff = "100ms")
)]
async fn held_in_ledger(event: Event, shop: State<Shop>) -> Result<(), Failure> {
    shop.wait_for_gate().await;
    shop.record("shop.held", &event)?;
    shop.fail_first_run(&event)
}

/// The handler `shop.checkout` without a `Tx`.
#[on_event(
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    name = "shop.checkout",
    retry(max_attempts = 100, backoff = "20ms", max_backoff = "100ms"),
    answer_after = "8s"
)]
async fn checkout_in_ledger(event: Event, shop: State<Shop>) -> Result<(), Failure> {
    shop.wait_for_gate_if_async(&event).await;
    shop.record("shop.checkout", &event)
}

#[on_event("charge.failed", name = "poison.panics", retry(max_attempts = 3, backoff = "20ms"))]
async fn panics(_: Event) {
    panic!("poison");
}

#[on_event("charge.expired", name = "poison.aborts", retry(max_attempts = 3, backoff = "20ms"))]
async fn aborts(_: Event) {
    std::process::abort();
}

#[on_event(
    "charge.pending",
    name = "poison.hangs",
    retry(max_attempts = 3, backoff = "20ms"),
    timeout = "100ms"
)]
async fn hangs(_: Event) {
    std::future::pending::<()>().await;
}

#[on_event(
    "charge.updated",
    name = "poison.blocks",
    retry(max_attempts = 3, backoff = "20ms"),
    timeout = "100ms",
    blocking
)]
fn blocks(_: Event) {
    loop {
        std::thread::park();
    }
}

/// A type that no customer decodes to, because ids are strings.
#[derive(Deserialize)]
struct Customer {
    #[serde(rename = "id")]
    _id: u64,
}

#[on_event(
    "customer.updated",
    name = "poison.undecodable",
    retry(max_attempts = 3, backoff = "20ms")
)]
async fn undecodable(_: Object<Customer>) {}

#[on_event("invoice.sent", name = "shop.former", retry(backoff = "20ms"))]
async fn former(event: Event, shop: State<Shop>) -> Result<(), Failure> {
    shop.record("shop.former", &event)
}

#[on_event(
    "invoice.sent",
    name = "shop.present",
    formerly = "shop.former",
    retry(backoff = "20ms")
)]
async fn present(event: Event, shop: State<Shop>) -> Result<(), Failure> {
    shop.record("shop.present", &event)
}
