//! Tests of the inbox: storing and answering events, delivering them, logs and metrics.

mod clock;
mod delivering;
#[path = "../exchange/mod.rs"]
mod exchange;
mod fairness;
mod jetstream;
mod leases;
#[path = "../logged/mod.rs"]
mod logged;
mod logging;
mod metrics;
mod receiving;
mod shop;
mod transactions;
