//! Tests of the inbox: storing and answering events, delivering them, logs and metrics.

mod answers;
mod api_versions;
mod clock;
mod dead_letter_age;
mod delivering;
mod fairness;
#[cfg(unix)]
mod file;
mod history;
mod idle;
mod jetstream;
mod later;
mod leases;
mod logging;
mod metrics;
#[path = "../telemetry/metrics_table.rs"]
mod metrics_table;
mod monitor;
mod outages;
mod panics;
mod pause;
mod receiving;
mod redelivery_shop;
mod replies;
mod shop;
mod silent;
mod tables;
mod test_inbox;
mod toy_store;
mod transactions;
mod worker_health;
mod wrapped;
