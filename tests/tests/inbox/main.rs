//! Tests of the inbox: storing and answering events, delivering them, logs and metrics.

#[path = "../bomb/mod.rs"]
mod bomb;
mod clock;
mod delivering;
#[path = "../exchange/mod.rs"]
mod exchange;
mod fairness;
#[cfg(unix)]
mod file;
mod jetstream;
mod leases;
#[path = "../logged/mod.rs"]
mod logged;
mod logging;
mod metrics;
mod panics;
mod receiving;
mod shop;
mod silent;
mod transactions;
