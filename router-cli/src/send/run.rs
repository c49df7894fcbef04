//! Sends deliveries, several at once, at a pace.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use router_core::{
    clock::{Clock as _, SystemClock},
    testing::Payload,
};
use tokio::{signal::ctrl_c, sync::mpsc};

use super::{
    deliveries::Deliveries,
    report::Reporter,
    sender::{Answer, Sender},
};
use crate::{
    error::{Error, Exit},
    output::Output,
    target::Target,
};

/// How fast deliveries are sent.
#[derive(Args)]
pub(crate) struct Pace {
    /// Send at most so many a second.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,

    /// Send so many at once; one after the other by default.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.001 => Ok(rate),
        _ => Err("write a number of events, as in 50 or 0.5; at least 0.001".to_owned()),
    }
}

/// An event that was made.
pub(crate) struct Made {
    pub(crate) payload: Payload,
    pub(crate) seed: Option<u64>,
}

/// What became of one delivery.
pub(crate) struct Delivered {
    pub(crate) made: Made,
    pub(crate) result: Result<Answer, String>,
    pub(crate) took: Duration,
}

/// What the workers share.
struct Work<M> {
    deliveries: Vec<usize>,
    next: AtomicUsize,
    make: M,
    sender: Sender,
    begun: Instant,
    /// From one delivery to the next.
    interval: Option<Duration>,
}

/// Sends each delivery, whose event is made by its number, and reports on them.
pub(crate) async fn run<M>(
    Deliveries(deliveries): Deliveries,
    make: M,
    target: &Target,
    pace: &Pace,
    output: &mut Output,
) -> Result<Exit, Error>
where
    M: Fn(usize) -> Result<Made, Error> + Send + Sync + 'static,
{
    let (secret, secret_was_given) = target.secret.read()?;
    let sender = Sender::new(target, secret)?;
    let mut reporter =
        Reporter::new(deliveries.len(), sender.url().clone(), secret_was_given, output);
    let begun = SystemClock.monotonic();
    let interval = pace.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let workers = usize::from(pace.concurrency).min(deliveries.len());
    let next = AtomicUsize::new(0);
    let work = Arc::new(Work { deliveries, next, make, sender, begun, interval });
    let (sender, mut delivered) = mpsc::channel(workers.max(1));
    for _ in 0..workers {
        tokio::spawn(deliver(work.clone(), sender.clone()));
    }
    drop(sender);
    let mut interrupted = pin!(ctrl_c());
    loop {
        tokio::select! {
            // Asked first, since the signal is ours from then on: before anything is told.
            biased;
            _ = &mut interrupted => break,
            delivered = delivered.recv() => match delivered {
                Some(delivered) => reporter.delivered(delivered?, output)?,
                None => break,
            },
        }
    }
    reporter.end(SystemClock.monotonic() - begun, output)
}

/// One worker: it takes the next delivery for as long as there is one, and somebody who wants to know.
async fn deliver<M>(work: Arc<Work<M>>, report: mpsc::Sender<Result<Delivered, Error>>)
where
    M: Fn(usize) -> Result<Made, Error> + Send + Sync + 'static,
{
    loop {
        let place = work.next.fetch_add(1, Ordering::Relaxed);
        let Some(event) = work.deliveries.get(place) else { return };
        if let Some(interval) = work.interval {
            let offset = interval.mul_f64(place as f64);
            SystemClock.sleep_until(work.begun + offset).await;
        }
        let delivered = match (work.make)(*event) {
            Err(error) => Err(error),
            Ok(made) => {
                let begun = SystemClock.monotonic();
                let result = work.sender.send(&made.payload).await;
                Ok(Delivered { made, result, took: SystemClock.monotonic() - begun })
            }
        };
        if report.send(delivered).await.is_err() {
            return;
        }
    }
}
