//! Where the process can be told to die.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use clap::ValueEnum;
use router_core::{DeliveringService, Delivery, ProvidedType};
use router_inbox::{
    Backlog, Claim, ClaimRequest, Completed, DeliveryOutcome, Effects, Lease, NewEvent, Store,
    StoreError, Stored, StoredDelivery,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Point {
    /// The event is authentic, and not stored.
    AfterVerify,
    /// It is stored, and Stripe does not know.
    AfterStore,
    /// Deliveries are this process's, and no handler has begun.
    AfterClaim,
    /// A handler has begun, and what it did is not there yet.
    MidHandler,
    /// A handler has returned, and the store does not know.
    AfterEffect,
    /// The store knows, and this process does not.
    AfterComplete,
}

/// When to die. Clones count together.
#[derive(Clone)]
pub(crate) struct Crashes {
    at: Option<Point>,
    left: Arc<AtomicI64>,
}

impl Crashes {
    pub(crate) fn new(at: Option<Point>, on: i64) -> Self {
        Self { at, left: Arc::new(AtomicI64::new(on)) }
    }

    pub(crate) fn pass(&self, point: Point) {
        if self.at == Some(point) && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            die();
        }
    }
}

/// By SIGKILL: nothing is unwound, dropped or flushed.
fn die() -> ! {
    let killed = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
    // Whoever came here goes no further in any case.
    loop {
        eprintln!("killing this process: {killed:?}");
        std::thread::park();
    }
}

/// A store in a process that may die right after the store has done something.
pub(crate) struct CrashingStore<S> {
    store: S,
    crashes: Crashes,
    no_signs: bool,
}

impl<S> CrashingStore<S> {
    /// With `no_signs` no lease is extended, and nobody is told.
    pub(crate) fn new(store: S, crashes: Crashes, no_signs: bool) -> Self {
        Self { store, crashes, no_signs }
    }
}

impl<S: Store> DeliveringService for CrashingStore<S> {
    fn provides(&self) -> Vec<ProvidedType> {
        self.store.provides()
    }
}

#[async_trait]
impl<S: Store> Store for CrashingStore<S> {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let stored = self.store.store(events).await?;
        self.crashes.pass(Point::AfterStore);
        Ok(stored)
    }

    fn check(&self, event: &NewEvent) -> Result<(), StoreError> {
        self.store.check(event)
    }

    async fn claim(&self, wanted: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        let claims = self.store.claim(wanted).await?;
        if !claims.is_empty() {
            self.crashes.pass(Point::AfterClaim);
        }
        Ok(claims)
    }

    async fn extend(&self, leases: &[Lease], time: Duration) -> Result<Vec<bool>, StoreError> {
        if self.no_signs {
            return Ok(vec![true; leases.len()]);
        }
        self.store.extend(leases, time).await
    }

    async fn complete(
        &self,
        ends: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<Completed>, StoreError> {
        let completed = self.store.complete(ends).await?;
        self.crashes.pass(Point::AfterComplete);
        Ok(completed)
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        self.store.deliveries(event_id).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.store.backlog().await
    }

    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        let (delivery, effects) = self.store.prepare(delivery);
        let crashes = self.crashes.clone();
        let effects = effects.map(|effects| Box::new(CrashingEffects { effects, crashes }) as _);
        (delivery, effects)
    }

    async fn notified(&self) {
        self.store.notified().await;
    }
}

struct CrashingEffects {
    effects: Box<dyn Effects>,
    crashes: Crashes,
}

#[async_trait]
impl Effects for CrashingEffects {
    async fn deadline_exceeded(&self) -> Duration {
        self.effects.deadline_exceeded().await
    }

    async fn finish(
        self: Box<Self>,
        lease: &Lease,
        end: &DeliveryOutcome,
    ) -> Result<Option<Completed>, StoreError> {
        let completed = self.effects.finish(lease, end).await?;
        if completed.is_some() {
            self.crashes.pass(Point::AfterComplete);
        }
        Ok(completed)
    }
}
