//! Measures an inbox: `bench-inbox COMMAND URL [NUMBER…]`. The scripts `inbox.py` and `scaling.py`
//! run this program and compare its figures.
//!
//! Each command prints its result:
//!
//! - `serve`: serves an endpoint with an inbox over HTTP, without a worker. Prints the address.
//! - `store EVENTS BYTES`: stores new events from 64 concurrent callers. Prints events per second.
//! - `more FROM EVENTS BYTES`: like `store`, with event numbers that start at `FROM`.
//! - `bare EVENTS BYTES`: writes the same rows or messages with the driver alone, in batches of 64,
//!   to SQLite or JetStream. Prints events per second.
//! - `deliver`: delivers all pending deliveries to a handler that does nothing. Prints deliveries
//!   per second.
//! - `work MILLISECONDS`: delivers, 16 deliveries concurrently, to a handler that sleeps for this
//!   time, until no delivery finishes for two seconds. Prints the number of deliveries, and the
//!   times at which the first and the last finished, in seconds since the Unix epoch.
//! - `claim TIMES`: claims 16 deliveries and releases them. Prints the median time of a claim in
//!   microseconds.
//! - `latency TIMES`: stores one event at a time. Prints the median time from the stored event to
//!   the start of the handler in microseconds.

use std::{
    env,
    error::Error,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use router_core::{
    Endpoint, Event, Router,
    clock::{Clock as _, SystemClock},
    delivery::DeliveryRouter,
    server::{Server, shutdown_signal},
    testing::Payload,
};
use router_inbox::{
    Inbox, InboxError, JetStreamStore, PostgresStore, SqliteStore, Store,
    sqlx::{self, Connection as _, SqliteConnection},
    store::{ClaimRequest, DeliveryOutcome, HandlerSlots, NewDelivery, NewEvent},
};
use router_performance::{TEMPLATE_ID, event, port, replace_id, secret};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tower::Service as _;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The stable name of the handler.
const HANDLER: &str = "shop";
/// The number of concurrent callers that store events, and of events in a bare batch.
const CALLERS: usize = 64;
/// The worker's concurrency for `deliver`.
const DELIVER_CONCURRENCY: usize = 64;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [command, url, numbers @ ..] = &arguments[..] else {
        return Err("usage: bench-inbox COMMAND URL [NUMBER…]".into());
    };
    let numbers: Vec<usize> =
        numbers.iter().map(|number| number.parse()).collect::<std::result::Result<_, _>>()?;
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => run(command, url, SqliteStore::open(url).await?, &numbers).await,
        Some("nats") => run(command, url, JetStreamStore::connect(url).await?, &numbers).await,
        _ => run(command, url, PostgresStore::connect(url).await?, &numbers).await,
    }
}

async fn run<S: Store + Clone>(
    command: &str,
    url: &str,
    store: S,
    numbers: &[usize],
) -> Result<()> {
    let figure = match (command, numbers) {
        ("serve", []) => return serve(store).await,
        ("work", [milliseconds]) => return work(store, *milliseconds as u64).await,
        ("store", [events, bytes]) => store_all(store, new_events(0, *events, *bytes)).await?,
        ("more", [from, events, bytes]) => {
            store_all(store, new_events(*from, *events, *bytes)).await?
        }
        ("bare", [events, bytes]) if url.starts_with("nats:") => {
            write_to_jetstream(url, &new_events(0, *events, *bytes)).await?
        }
        ("bare", [events, bytes]) => write_to_sqlite(url, &new_events(0, *events, *bytes)).await?,
        ("deliver", []) => deliver(store).await?,
        ("claim", [times]) => claim(&store, *times).await?,
        ("latency", [times]) => latency(store, *times).await?,
        _ => return Err("unknown command or wrong numbers; see the top of bench-inbox.rs".into()),
    };
    println!("{figure:.0}");
    Ok(())
}

/// Returns a router whose only handler calls `handler` for each event.
fn router(
    store: &impl Store,
    handler: impl Fn() + Send + Sync + 'static,
) -> Result<DeliveryRouter> {
    let handler = move |_: Event| {
        handler();
        std::future::ready(())
    };
    let router = Router::builder().without_linked().handler(HANDLER, ["*"], handler);
    Ok(router.delivered_by(store).build()?)
}

async fn serve(store: impl Store) -> Result<()> {
    let router = router(&store, || ())?;
    let endpoint = Endpoint::new(secret(), Inbox::new(store, router));
    let listener = TcpListener::bind(("127.0.0.1", port())).await?;
    println!("listening on {}", listener.local_addr()?);
    Server::new(endpoint).serve(listener, shutdown_signal()?).await;
    Ok(())
}

/// Returns events of about `bytes` bytes whose ids are numbered from `from`, with one delivery
/// each.
fn new_events(from: usize, events: usize, bytes: usize) -> Vec<NewEvent> {
    let template = event(TEMPLATE_ID, bytes);
    let new_event = |number| {
        let body = replace_id(template.body(), TEMPLATE_ID, &format!("evt_{number:012}"));
        let event = Payload::recorded(body).expect("the body is an event").event().clone();
        let deliveries = vec![NewDelivery::new(HANDLER)];
        NewEvent::new(event, deliveries)
    };
    (from..from + events).map(new_event).collect()
}

/// Stores the events through an inbox and returns the events per second.
async fn store_all(store: impl Store, new_events: Vec<NewEvent>) -> Result<f64> {
    let router = router(&store, || ())?;
    let inbox = Inbox::new(store, router);
    let (count, share_size) = (new_events.len(), new_events.len().div_ceil(CALLERS));
    let shares: Vec<Vec<NewEvent>> =
        new_events.chunks(share_size).map(<[NewEvent]>::to_vec).collect();
    let start = SystemClock.monotonic();
    let callers = shares.into_iter().map(|share| {
        let mut inbox = inbox.clone();
        tokio::spawn(async move {
            for new_event in share {
                inbox.call(new_event.event).await?;
            }
            Ok::<_, InboxError>(())
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(per_second(count, start))
}

/// Writes the same rows as the inbox with the SQLite driver alone, in batches. Returns the events
/// per second.
async fn write_to_sqlite(url: &str, new_events: &[NewEvent]) -> Result<f64> {
    let mut connection = SqliteConnection::connect(url).await?;
    sqlx::raw_sql("pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on")
        .execute(&mut connection)
        .await?;
    let start = SystemClock.monotonic();
    for batch in new_events.chunks(CALLERS) {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for NewEvent { event, .. } in batch {
            let inserted = sqlx::query(
                "insert into stripe_inbox_events
                     (identity, endpoint, account, event_id, generation, type, object, payload, signed_at, stored_at)
                 values (randomblob(32), 'default', '', ?1, 0, ?2, ?3, ?4, 0, 0)",
            )
            .bind(event.id())
            .bind(event.event_type())
            .bind(event.object_id().map(|object| object.to_string()))
            .bind(event.payload_text().as_bytes())
            .execute(&mut *transaction)
            .await?;
            let delivery = sqlx::query(
                "insert into stripe_inbox_deliveries (event, handler, due) values (?1, ?2, 0)",
            );
            let delivery = delivery.bind(inserted.last_insert_rowid()).bind(HANDLER);
            delivery.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
    }
    Ok(per_second(new_events.len(), start))
}

/// Publishes messages like those of the inbox with the NATS client alone, in atomic batches.
/// Returns the events per second.
async fn write_to_jetstream(url: &str, new_events: &[NewEvent]) -> Result<f64> {
    let parts = || {
        let (login, rest) = url.strip_prefix("nats://")?.split_once('@')?;
        Some((login.split_once(':')?, rest.split_once('/')?))
    };
    let ((user, password), (servers, stream)) =
        parts().ok_or("the URL is not `nats://USER:PASSWORD@SERVERS/STREAM`")?;
    let options = async_nats::ConnectOptions::with_user_and_password(user.into(), password.into());
    let client = options.connect(servers.split(',').next().unwrap_or(servers)).await?;
    let record = "r".repeat(350);
    let start = SystemClock.monotonic();
    for (number, batch) in new_events.chunks(CALLERS).enumerate() {
        let batch_id = format!("{start:?}{number}");
        for (index, NewEvent { event, .. }) in batch.iter().enumerate() {
            let batch_headers = |sequence: usize| {
                let mut headers = async_nats::HeaderMap::new();
                headers.insert("Nats-Batch-Id", &*batch_id);
                headers.insert("Nats-Batch-Sequence", sequence.to_string());
                headers
            };
            let mut headers = batch_headers(2 * index + 1);
            headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
            headers.insert("Inbox-Event", &record[..300]);
            let subject = format!("{stream}.event.{}.x", event.id());
            client.publish_with_headers(subject, headers, event.payload().clone()).await?;
            let mut headers = batch_headers(2 * index + 2);
            let subject = format!("{stream}.open.l.{}.x", event.id());
            if index + 1 < batch.len() {
                client.publish_with_headers(subject, headers, record.clone().into()).await?;
                continue;
            }
            headers.insert("Nats-Batch-Commit", "1");
            let answer =
                client.request_with_headers(subject, headers, record.clone().into()).await?;
            if answer.payload.windows(5).any(|text| text == b"error") {
                return Err(String::from_utf8_lossy(&answer.payload).into());
            }
        }
    }
    Ok(per_second(new_events.len(), start))
}

/// Delivers to a handler that sleeps, and prints the number of deliveries and the time of the first
/// and the last.
async fn work(store: impl Store, milliseconds: u64) -> Result<()> {
    let (finished, mut finish_times) = mpsc::unbounded_channel();
    let handler = move |_: Event| {
        let finished = finished.clone();
        async move {
            SystemClock.sleep(Duration::from_millis(milliseconds)).await;
            finished.send(SystemClock.wall()).expect("the receiver outlives the worker");
        }
    };
    let router = Router::builder().without_linked().handler(HANDLER, ["*"], handler);
    let router = router.delivered_by(&store).build()?;
    let inbox = Inbox::new(store, router.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = inbox.worker(router).run(async { drop(stopped.await) });
    let worker = tokio::spawn(worker);
    let mut times = Vec::new();
    loop {
        tokio::select! {
            Some(time) = finish_times.recv() => times.push(time),
            () = SystemClock.sleep(Duration::from_secs(2)), if !times.is_empty() => break,
        }
    }
    drop(stop);
    worker.await?;
    let seconds =
        |time: &SystemTime| time.duration_since(UNIX_EPOCH).map(|since| since.as_secs_f64());
    let (first, last) = (times.iter().min(), times.iter().max());
    let (first, last) = (first.ok_or("no delivery finished")?, last.ok_or("no delivery finished")?);
    println!("{} {} {}", times.len(), seconds(first)?, seconds(last)?);
    Ok(())
}

/// Delivers all pending deliveries and returns the deliveries per second.
async fn deliver(store: impl Store) -> Result<f64> {
    let waiting_total = store.backlog().await?.iter().map(|count| count.waiting).sum::<u64>();
    let waiting = usize::try_from(waiting_total)?;
    let handled = AtomicUsize::new(0);
    let (stop, stopped) = oneshot::channel();
    let stop = Mutex::new(Some(stop));
    let handler = move || {
        if handled.fetch_add(1, Ordering::Relaxed) + 1 == waiting {
            drop(stop.lock().expect("no thread panics with the lock held").take());
        }
    };
    let router = router(&store, handler)?;
    let inbox = Inbox::new(store, router.clone());
    let start = SystemClock.monotonic();
    let worker = inbox.worker(router).concurrency(DELIVER_CONCURRENCY);
    worker.run(async { drop::<std::result::Result<(), _>>(stopped.await) }).await;
    Ok(per_second(waiting, start))
}

/// Returns the median time of a claim in microseconds.
async fn claim(store: &impl Store, times: usize) -> Result<f64> {
    let lease = Duration::from_secs(600);
    let request =
        ClaimRequest::new(vec![HandlerSlots::new(HANDLER, 16)], 16, lease).worker("bench");
    let mut durations = Vec::new();
    for _ in 0..times {
        let start = SystemClock.monotonic();
        let claims = store.claim(&request).await?;
        durations.push(SystemClock.monotonic() - start);
        assert_eq!(claims.len(), 16, "the inbox has fewer than 16 pending deliveries");
        let outcomes: Vec<_> = claims
            .into_iter()
            .map(|claim| (claim.lease, DeliveryOutcome::Released { wait: Duration::ZERO }))
            .collect();
        store.complete(&outcomes).await?;
    }
    Ok(median(durations))
}

/// Returns the median time from a stored event to the start of its handler in microseconds.
async fn latency(store: impl Store, times: usize) -> Result<f64> {
    let (started, mut starts) = mpsc::unbounded_channel();
    let handler =
        move || started.send(SystemClock.monotonic()).expect("the receiver outlives the worker");
    let router = router(&store, handler)?;
    let inbox = Inbox::new(store, router.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = inbox.worker(router).run(async { drop(stopped.await) });
    let worker = tokio::spawn(worker);
    let mut durations = Vec::new();
    for new_event in new_events(0, times, 3 * 1024) {
        // Wait until the previous delivery is recorded and the worker is idle.
        SystemClock.sleep(Duration::from_millis(20)).await;
        inbox.clone().call(new_event.event).await?;
        let stored = SystemClock.monotonic();
        let handler_start = starts.recv().await.ok_or("the worker ended")?;
        durations.push(handler_start.saturating_duration_since(stored));
    }
    drop(stop);
    worker.await?;
    Ok(median(durations))
}

/// Returns the median in microseconds.
fn median(mut durations: Vec<Duration>) -> f64 {
    durations.sort();
    durations[durations.len() / 2].as_secs_f64() * 1e6
}

fn per_second(count: usize, start: Instant) -> f64 {
    count as f64 / (SystemClock.monotonic() - start).as_secs_f64()
}
