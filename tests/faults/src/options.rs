//! Command line options of the shop.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use humantime::parse_duration;

use crate::crash::CrashPoint;

/// The signing secret, which the tests use too.
pub(crate) const SECRET: &str = "whsec_of_the_faults";

/// A webhook server with injected faults.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// The inbox's URL: `sqlite:FILE`, `postgres://…` or `nats://…`.
    #[arg(long)]
    pub(crate) inbox: String,
    /// The file to which handlers append a line for each event.
    #[arg(long)]
    pub(crate) ledger: PathBuf,
    /// The file for whose existence `shop.held` waits, and `shop.checkout` if the payment was
    /// asynchronous.
    #[arg(long)]
    pub(crate) gate: PathBuf,
    /// Runs no worker.
    #[arg(long)]
    pub(crate) no_worker: bool,
    /// Serves no endpoint.
    #[arg(long)]
    pub(crate) no_serve: bool,
    /// Renews no leases, but reports to the worker that all are still held.
    #[arg(long)]
    pub(crate) no_heartbeat: bool,
    /// Makes `shop.held` fail the first time that this process runs it for an event.
    #[arg(long)]
    pub(crate) fail_first: bool,
    #[arg(long, default_value = "500ms", value_parser = parse_duration)]
    pub(crate) lease: Duration,
    #[arg(long, default_value = "50ms", value_parser = parse_duration)]
    pub(crate) poll_interval: Duration,
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    pub(crate) shutdown_grace: Duration,
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    pub(crate) store_timeout: Duration,
    #[arg(long, default_value_t = 16)]
    pub(crate) concurrency: usize,
    /// Kills this process when it reaches the point.
    #[arg(long)]
    pub(crate) crash_at: Option<CrashPoint>,
    /// Number of times that the point is reached before the process is killed, the last included.
    #[arg(long, default_value_t = 1)]
    pub(crate) crash_on: i64,
    /// The time by which this machine's clock is fast.
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub(crate) clock_ahead: Duration,
    /// The time by which this machine's clock is slow.
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub(crate) clock_behind: Duration,
    /// The set of handlers, which stands for a version of the program.
    #[arg(long, default_value = "all")]
    pub(crate) handlers: Handlers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Handlers {
    /// The handlers that every version has.
    All,
    /// All handlers and `shop.former`.
    Former,
    /// All handlers and `shop.present`, the new name of `shop.former`.
    Renamed,
}
