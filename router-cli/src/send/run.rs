//! Sends deliveries concurrently, at a limited rate.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use router_core::clock::{Clock as _, SystemClock};
use tokio::{signal::ctrl_c, sync::mpsc};

use super::{
    deliveries::Deliveries,
    report::Reporter,
    sender::{DeliveryResult, OutgoingEvent, Sender},
};
use crate::{
    error::{Error, Exit},
    output::Output,
    target::Target,
};

/// Options for the rate of deliveries.
#[derive(Args)]
pub(crate) struct PaceOptions {
    /// Maximum number of deliveries per second; unlimited by default.
    #[arg(long, value_name = "PER_SECOND", value_parser = parse_rate)]
    rate: Option<f64>,

    /// Number of concurrent deliveries.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.001 => Ok(rate),
        _ => Err("expected a number of at least 0.001, as in 50 or 0.5".to_owned()),
    }
}

/// State shared by the worker tasks.
struct Shared<F> {
    deliveries: Vec<usize>,
    next: AtomicUsize,
    make_event: F,
    sender: Sender,
    started: Instant,
    /// The time between the starts of two deliveries, if the rate is limited.
    interval: Option<Duration>,
}

/// Sends all deliveries and reports their results.
///
/// `make_event` builds an event from its index. Ctrl-C stops the run; the summary then covers the
/// deliveries that were sent.
pub(crate) async fn run<F>(
    Deliveries(deliveries): Deliveries,
    make_event: F,
    target: &Target,
    pace: &PaceOptions,
    output: &mut Output,
) -> Result<Exit, Error>
where
    F: Fn(usize) -> Result<OutgoingEvent, Error> + Send + Sync + 'static,
{
    let (secret, secret_is_given) = target.secret.resolve()?;
    let sender = Sender::new(target, secret)?;
    let mut reporter =
        Reporter::new(deliveries.len(), sender.url().clone(), secret_is_given, output);
    let started = SystemClock.monotonic();
    let interval = pace.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let workers = usize::from(pace.concurrency).min(deliveries.len());
    let next = AtomicUsize::new(0);
    let shared = Arc::new(Shared { deliveries, next, make_event, sender, started, interval });
    let (result_sender, mut results) = mpsc::channel(workers.max(1));
    for _ in 0..workers {
        tokio::spawn(deliver(shared.clone(), result_sender.clone()));
    }
    drop(result_sender);
    let mut interrupted = pin!(ctrl_c());
    loop {
        tokio::select! {
            // Polls `ctrl_c` first: the first poll installs the signal handler, which must be in
            // place before the first result is printed.
            biased;
            _ = &mut interrupted => break,
            result = results.recv() => match result {
                Some(result) => reporter.delivered(result?, output)?,
                None => break,
            },
        }
    }
    reporter.finish(SystemClock.monotonic() - started, output)
}

/// Runs a worker task, until no delivery is left or the receiver of the results is gone.
async fn deliver<F>(shared: Arc<Shared<F>>, results: mpsc::Sender<Result<DeliveryResult, Error>>)
where
    F: Fn(usize) -> Result<OutgoingEvent, Error> + Send + Sync + 'static,
{
    loop {
        let position = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(index) = shared.deliveries.get(position) else { return };
        if let Some(interval) = shared.interval {
            let offset = interval.mul_f64(position as f64);
            SystemClock.sleep_until(shared.started + offset).await;
        }
        let result = match (shared.make_event)(*index) {
            Err(error) => Err(error),
            Ok(event) => {
                let sent = SystemClock.monotonic();
                let answer = shared.sender.send(&event.payload).await;
                Ok(DeliveryResult { event, answer, elapsed: SystemClock.monotonic() - sent })
            }
        };
        if results.send(result).await.is_err() {
            return;
        }
    }
}
