//! What the tests tell it.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use humantime::parse_duration;

use crate::crash::Point;

/// With which the tests sign.
pub(crate) const SECRET: &str = "whsec_of_the_faults";

/// A shop that dies where it is told to.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// `sqlite:FILE`, `postgres://…` or `nats://…`.
    #[arg(long)]
    pub(crate) inbox: String,
    /// The file to which `shop.ledger` appends a line for each event.
    #[arg(long)]
    pub(crate) ledger: PathBuf,
    /// `shop.held` waits until there is such a file.
    #[arg(long)]
    pub(crate) gate: PathBuf,
    /// Runs no handler.
    #[arg(long)]
    pub(crate) no_worker: bool,
    /// Serves no endpoint.
    #[arg(long)]
    pub(crate) no_serve: bool,
    /// Extends no lease, and believes that it has them all still.
    #[arg(long)]
    pub(crate) no_signs: bool,
    /// `shop.held` fails the first time that this process runs it for an event.
    #[arg(long)]
    pub(crate) fail_first: bool,
    #[arg(long, default_value = "500ms", value_parser = parse_duration)]
    pub(crate) lease: Duration,
    #[arg(long, default_value = "50ms", value_parser = parse_duration)]
    pub(crate) poll: Duration,
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    pub(crate) grace: Duration,
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    pub(crate) store_timeout: Duration,
    #[arg(long, default_value_t = 16)]
    pub(crate) concurrency: usize,
    /// Kills itself there.
    #[arg(long)]
    pub(crate) crash_at: Option<Point>,
    /// The how many-th time that it comes there.
    #[arg(long, default_value_t = 1)]
    pub(crate) crash_on: i64,
    /// By how much this machine's clock is fast.
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub(crate) clock_ahead: Duration,
    /// By how much it is slow.
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub(crate) clock_behind: Duration,
    /// Which version of the program this is.
    #[arg(long, default_value = "all")]
    pub(crate) handlers: Handlers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Handlers {
    All,
    /// With `shop.former` too.
    Former,
    /// With `shop.present` too, which was `shop.former`.
    Renamed,
}
