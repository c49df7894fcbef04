//! A webhook server with injected faults, which the fault tests run as a child process. It consists
//! of an endpoint over HTTP, an inbox and a worker.
//!
//! Prints `listening ADDRESS` when it serves, and `began HANDLER EVENT` when a handler starts.

mod crash;
mod handlers;
mod options;

use std::time::{Duration, Instant, SystemTime};

use clap::Parser as _;
use router_core::{
    BoxError, Endpoint, SigningSecret,
    build::RouterBuilder,
    clock::{Clock, Sleep, SystemClock},
    delivery::Delivery,
    server::{Server, shutdown_signal},
};
use router_inbox::{Inbox, JetStreamStore, PostgresStore, SqliteStore, Store};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tracing_subscriber::filter::LevelFilter;

use crate::{
    crash::{CrashPoint, CrashSwitch, CrashingStore},
    handlers::Shop,
    options::Options,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false);
    log.with_max_level(LevelFilter::WARN).init();
    let crash_switch = CrashSwitch::new(options.crash_at, options.crash_on);
    let shop = Shop::new(&options, crash_switch.clone());
    let url = &options.inbox;
    if url.starts_with("sqlite:") {
        let router = handlers::in_sqlite(options.handlers, shop);
        let store = SqliteStore::options().clock(ShiftedClock::new(&options)).open(url).await?;
        run(store, router, crash_switch, &options).await
    } else if url.starts_with("nats:") {
        let router = handlers::in_jetstream(options.handlers, shop);
        run(JetStreamStore::connect(url).await?, router, crash_switch, &options).await
    } else {
        let router = handlers::in_postgres(options.handlers, shop);
        run(PostgresStore::connect(url).await?, router, crash_switch, &options).await
    }
}

async fn run(
    store: impl Store,
    router: RouterBuilder,
    crash_switch: CrashSwitch,
    options: &Options,
) -> Result<(), BoxError> {
    let clock = ShiftedClock::new(options);
    let store = CrashingStore::new(store, crash_switch.clone(), options.no_heartbeat);
    let router = router.clock(clock).delivered_by(&store).build()?;
    let inbox = Inbox::new(store, router.clone()).store_timeout(options.store_timeout).clock(clock);
    let shutdown = shutdown_signal()?;

    let after_run = crash_switch.clone();
    let service = router.map_request(print_start).map_response(move |report| {
        after_run.reach(CrashPoint::AfterEffect);
        report
    });
    let worker = inbox.worker(service).lease(options.lease).poll_interval(options.poll_interval);
    let worker = worker.shutdown_grace(options.shutdown_grace).concurrency(options.concurrency);
    let worker = worker.run(shutdown.clone());
    let worker = (!options.no_worker).then(|| tokio::spawn(worker));
    if options.no_serve {
        shutdown.await;
    } else {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening {}", listener.local_addr()?);
        let inbox = inbox.map_request(move |event| {
            crash_switch.reach(CrashPoint::AfterVerify);
            event
        });
        // A test sends an object with a field of 1 MiB.
        let secret = SigningSecret::new(options::SECRET)?;
        let endpoint = Endpoint::new(secret, inbox).body_limit(2 * 1024 * 1024);
        Server::new(endpoint).serve(listener, shutdown).await;
    }
    if let Some(worker) = worker {
        worker.await?;
    }
    Ok(())
}

fn print_start(delivery: Delivery) -> Delivery {
    println!("began {} {}", delivery.handler(), delivery.event().id());
    delivery
}

/// A clock whose time of day is wrong.
#[derive(Clone, Copy)]
struct ShiftedClock {
    ahead: Duration,
    behind: Duration,
}

impl ShiftedClock {
    fn new(options: &Options) -> Self {
        Self { ahead: options.clock_ahead, behind: options.clock_behind }
    }
}

impl Clock for ShiftedClock {
    fn wall(&self) -> SystemTime {
        SystemClock.wall() + self.ahead - self.behind
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        SystemClock.sleep_until(deadline)
    }
}
