//! Points at which the process can be killed.

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
use router_core::delivery::{Delivery, DeliveryService, ProvidedType};
use router_inbox::{
    Store, StoreError,
    store::{
        Backlog, Claim, ClaimRequest, CompleteResult, DeliveryOutcome, Effects, Lease, NewEvent,
        Stored, StoredDelivery,
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CrashPoint {
    /// The event is verified but not stored.
    AfterVerify,
    /// The event is stored but not answered.
    AfterStore,
    /// Deliveries are claimed, and no handler has started.
    AfterClaim,
    /// A handler has started, and its effects are not committed.
    MidHandler,
    /// A handler has returned, and the outcome is not recorded.
    AfterEffect,
    /// The outcome is recorded, and the worker has not been told.
    AfterComplete,
}

/// Kills the process when it reaches a point for the n-th time. Clones share the count.
#[derive(Clone)]
pub(crate) struct CrashSwitch {
    point: Option<CrashPoint>,
    remaining: Arc<AtomicI64>,
}

impl CrashSwitch {
    pub(crate) fn new(point: Option<CrashPoint>, nth: i64) -> Self {
        Self { point, remaining: Arc::new(AtomicI64::new(nth)) }
    }

    /// Kills the process if this is the point and time to do so.
    pub(crate) fn reach(&self, point: CrashPoint) {
        if self.point == Some(point) && self.remaining.fetch_sub(1, Ordering::SeqCst) == 1 {
            die();
        }
    }
}

/// Ends the process by SIGKILL: nothing is unwound, dropped or flushed.
fn die() -> ! {
    let killed = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
    // This thread must not go on, even if the signal takes effect later.
    loop {
        eprintln!("killing this process: {killed:?}");
        std::thread::park();
    }
}

/// A store that may kill the process right after an operation.
pub(crate) struct CrashingStore<S> {
    store: S,
    crash_switch: CrashSwitch,
    no_heartbeat: bool,
}

impl<S> CrashingStore<S> {
    /// With `no_heartbeat`, no lease is extended, but all are reported as held.
    pub(crate) fn new(store: S, crash_switch: CrashSwitch, no_heartbeat: bool) -> Self {
        Self { store, crash_switch, no_heartbeat }
    }
}

impl<S: Store> DeliveryService for CrashingStore<S> {
    fn provides(&self) -> Vec<ProvidedType> {
        self.store.provides()
    }
}

#[async_trait]
impl<S: Store> Store for CrashingStore<S> {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let stored = self.store.store(events).await?;
        self.crash_switch.reach(CrashPoint::AfterStore);
        Ok(stored)
    }

    fn check(&self, event: &NewEvent) -> Result<(), StoreError> {
        self.store.check(event)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        let claims = self.store.claim(request).await?;
        if !claims.is_empty() {
            self.crash_switch.reach(CrashPoint::AfterClaim);
        }
        Ok(claims)
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        if self.no_heartbeat {
            return Ok(vec![true; leases.len()]);
        }
        self.store.extend(leases, duration).await
    }

    async fn complete(
        &self,
        outcomes: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<CompleteResult>, StoreError> {
        let completed = self.store.complete(outcomes).await?;
        self.crash_switch.reach(CrashPoint::AfterComplete);
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
        let crash_switch = self.crash_switch.clone();
        let effects =
            effects.map(|effects| Box::new(CrashingEffects { effects, crash_switch }) as _);
        (delivery, effects)
    }

    async fn notified(&self) {
        self.store.notified().await;
    }
}

struct CrashingEffects {
    effects: Box<dyn Effects>,
    crash_switch: CrashSwitch,
}

#[async_trait]
impl Effects for CrashingEffects {
    async fn deadline_exceeded(&self) -> Duration {
        self.effects.deadline_exceeded().await
    }

    async fn finish(
        self: Box<Self>,
        lease: &Lease,
        outcome: &DeliveryOutcome,
    ) -> Result<Option<CompleteResult>, StoreError> {
        let completed = self.effects.finish(lease, outcome).await?;
        if completed.is_some() {
            self.crash_switch.reach(CrashPoint::AfterComplete);
        }
        Ok(completed)
    }
}
