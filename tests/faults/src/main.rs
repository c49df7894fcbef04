//! A shop that dies where it is told to: an endpoint over HTTP, an inbox and a worker, for the tests beside it.
//!
//! It prints `listening ADDRESS` once it serves, and `began HANDLER EVENT` whenever a handler is run.

mod crash;
mod handlers;
mod options;

use std::time::{Duration, Instant, SystemTime};

use clap::Parser as _;
use router_core::{
    BoxError, Delivery, Endpoint, RouterBuilder, SigningSecret,
    clock::{Clock, Sleep, SystemClock},
    server::{Server, shutdown_signal},
};
use router_inbox::{Inbox, JetStreamStore, PostgresStore, SqliteStore, Store};
use tokio::{net::TcpListener, sync::oneshot};
use tower::ServiceExt as _;
use tracing_subscriber::filter::LevelFilter;

use crate::{
    crash::{Crashes, CrashingStore, Point},
    handlers::Shop,
    options::Options,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false);
    log.with_max_level(LevelFilter::WARN).init();
    let crashes = Crashes::new(options.crash_at, options.crash_on);
    let shop = Shop::new(&options, crashes.clone());
    let url = &options.inbox;
    if url.starts_with("sqlite:") {
        let router = handlers::in_sqlite(options.handlers, shop);
        let store = SqliteStore::open(url).await?.clock(ShiftedClock::of(&options));
        run(store, router, crashes, &options).await
    } else if url.starts_with("nats:") {
        let router = handlers::in_jetstream(options.handlers, shop);
        run(JetStreamStore::connect(url).await?, router, crashes, &options).await
    } else {
        let router = handlers::in_postgres(options.handlers, shop);
        run(PostgresStore::connect(url).await?, router, crashes, &options).await
    }
}

async fn run(
    store: impl Store,
    router: RouterBuilder,
    crashes: Crashes,
    options: &Options,
) -> Result<(), BoxError> {
    let clock = ShiftedClock::of(options);
    let store = CrashingStore::new(store, crashes.clone(), options.no_signs);
    let router = router.clock(clock).delivered_by(&store).build()?;
    let inbox = Inbox::new(store, router.clone()).store_timeout(options.store_timeout).clock(clock);
    let shutdown = shutdown_signal()?;

    let (stop, stopped) = oneshot::channel::<()>();
    let at_end = crashes.clone();
    let service = router.map_request(began).map_response(move |report| {
        at_end.pass(Point::AfterEffect);
        report
    });
    let worker = inbox.worker(service).lease(options.lease).poll_interval(options.poll);
    let worker = worker.shutdown_grace(options.grace).concurrency(options.concurrency);
    let worker = worker.run(async { drop(stopped.await) });
    let worker = (!options.no_worker).then(|| tokio::spawn(worker));
    if options.no_serve {
        shutdown.await;
    } else {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening {}", listener.local_addr()?);
        let inbox = inbox.map_request(move |event| {
            crashes.pass(Point::AfterVerify);
            event
        });
        // A body of a MiB is to fit, whatever is around it.
        let secret = SigningSecret::new(options::SECRET)?;
        let endpoint = Endpoint::new(secret, inbox).body_limit(2 * 1024 * 1024);
        Server::new(endpoint).serve(listener, shutdown).await;
    }
    drop(stop);
    if let Some(worker) = worker {
        worker.await?;
    }
    Ok(())
}

fn began(delivery: Delivery) -> Delivery {
    println!("began {} {}", delivery.handler(), delivery.event().id());
    delivery
}

/// A machine whose time of day is wrong.
#[derive(Clone, Copy)]
struct ShiftedClock {
    ahead: Duration,
    behind: Duration,
}

impl ShiftedClock {
    fn of(options: &Options) -> Self {
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
