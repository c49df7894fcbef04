//! The inbox, for `inbox.py`, which says what is compared with what: `bench-inbox COMMAND URL [NUMBER…]`.
//!
//! | command | what it does | prints |
//! |---|---|---|
//! | `serve` | an endpoint and an inbox over HTTP, without a worker | its address |
//! | `store EVENTS BYTES` | stores so many, asked by 64 at once | events a second |
//! | `more FROM EVENTS BYTES` | the same, of events whose numbers begin there | events a second |
//! | `bare EVENTS BYTES` | writes the same in groups of 64, on SQLite and JetStream | events a second |
//! | `deliver` | delivers all that waits to a handler that does nothing | deliveries a second |
//! | `work MILLISECONDS` | delivers to a handler that waits for so long, 16 at once, until two seconds bring nothing | how many, and when the first and the last was done, in seconds since 1970 |
//! | `claim TIMES` | claims 16, and gives them back | median microseconds of a claim |
//! | `latency TIMES` | one event after the other | median microseconds from stored to the handler's start |

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
    DeliveryRouter, Endpoint, Event, Router,
    clock::{Clock as _, SystemClock},
    server::{Server, shutdown_signal},
    testing::Payload,
};
use router_inbox::{
    ClaimRequest, DeliveryOutcome, Inbox, JetStreamStore, NewDelivery, NewEvent, PostgresStore,
    SqliteStore, Store, Unstored,
    sqlx::{self, Connection as _, SqliteConnection},
};
use router_performance::{FIRST, event, port, secret, with_id};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tower::Service as _;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HANDLER: &str = "shop";
/// Stripe's connections, and the rows of a group.
const AT_ONCE: usize = 64;
/// How many deliveries run at once.
const CONCURRENCY: usize = 64;

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
        ("store", [events, bytes]) => stored(store, new(0, *events, *bytes)).await?,
        ("more", [from, events, bytes]) => stored(store, new(*from, *events, *bytes)).await?,
        ("bare", [events, bytes]) if url.starts_with("nats:") => {
            bare_in_nats(url, &new(0, *events, *bytes)).await?
        }
        ("bare", [events, bytes]) => bare(url, &new(0, *events, *bytes)).await?,
        ("deliver", []) => deliver(store).await?,
        ("claim", [times]) => claim(&store, *times).await?,
        ("latency", [times]) => latency(store, *times).await?,
        _ => return Err("see the top of bench-inbox.rs".into()),
    };
    println!("{figure:.0}");
    Ok(())
}

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

fn new(from: usize, events: usize, bytes: usize) -> Vec<NewEvent> {
    let first = event(FIRST, bytes);
    let made = |number| {
        let body = with_id(first.body(), FIRST, &format!("evt_{number:012}"));
        let event = Payload::recorded(body).expect("it is one").event().clone();
        let deliveries = vec![NewDelivery { handler: HANDLER.into(), ordered: false }];
        NewEvent { event, deliveries }
    };
    (from..from + events).map(made).collect()
}

async fn stored(store: impl Store, new: Vec<NewEvent>) -> Result<f64> {
    let router = router(&store, || ())?;
    let inbox = Inbox::new(store, router);
    let (count, share) = (new.len(), new.len().div_ceil(AT_ONCE));
    let shares: Vec<Vec<NewEvent>> = new.chunks(share).map(<[NewEvent]>::to_vec).collect();
    let begun = SystemClock.monotonic();
    let asked = shares.into_iter().map(|share| {
        let mut inbox = inbox.clone();
        tokio::spawn(async move {
            for new in share {
                inbox.call(new.event).await?;
            }
            Ok::<_, Unstored>(())
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        asked.await??;
    }
    Ok(a_second(count, begun))
}

/// What the inbox writes, by the same driver and nothing else.
async fn bare(url: &str, new: &[NewEvent]) -> Result<f64> {
    let mut connection = SqliteConnection::connect(url).await?;
    sqlx::raw_sql("pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on")
        .execute(&mut connection)
        .await?;
    let begun = SystemClock.monotonic();
    for group in new.chunks(AT_ONCE) {
        let mut write = connection.begin_with("BEGIN IMMEDIATE").await?;
        for NewEvent { event, .. } in group {
            let inserted = sqlx::query(
                "insert into events (endpoint, account, event_id, generation, type, object, payload, signed_at, stored_at)
                 values ('default', '', ?1, 0, ?2, ?3, ?4, 0, 0)",
            )
            .bind(event.id())
            .bind(event.event_type())
            .bind(event.object_id().to_string())
            .bind(event.payload_text().as_bytes())
            .execute(&mut *write)
            .await?;
            sqlx::query("insert into deliveries (event, handler, due) values (?1, ?2, 0)")
                .bind(inserted.last_insert_rowid())
                .bind(HANDLER)
                .execute(&mut *write)
                .await?;
        }
        write.commit().await?;
    }
    Ok(a_second(new.len(), begun))
}

/// What the inbox publishes, by the same client and nothing else.
async fn bare_in_nats(url: &str, new: &[NewEvent]) -> Result<f64> {
    let parts = || {
        let (login, rest) = url.strip_prefix("nats://")?.split_once('@')?;
        Some((login.split_once(':')?, rest.split_once('/')?))
    };
    let ((user, password), (servers, stream)) = parts().ok_or("it is not such a URL")?;
    let options = async_nats::ConnectOptions::with_user_and_password(user.into(), password.into());
    let client = options.connect(servers.split(',').next().unwrap_or(servers)).await?;
    let record = "r".repeat(350);
    let begun = SystemClock.monotonic();
    for (number, group) in new.chunks(AT_ONCE).enumerate() {
        let batch = format!("{begun:?}{number}");
        for (at, NewEvent { event, .. }) in group.iter().enumerate() {
            let part = |number: usize| {
                let mut headers = async_nats::HeaderMap::new();
                headers.insert("Nats-Batch-Id", &*batch);
                headers.insert("Nats-Batch-Sequence", number.to_string());
                headers
            };
            let mut headers = part(2 * at + 1);
            headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
            headers.insert("Inbox-Event", &record[..300]);
            let subject = format!("{stream}.event.{}.x", event.id());
            client.publish_with_headers(subject, headers, event.payload().clone()).await?;
            let (mut headers, subject) =
                (part(2 * at + 2), format!("{stream}.open.l.{}.x", event.id()));
            if at + 1 < group.len() {
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
    Ok(a_second(new.len(), begun))
}

async fn work(store: impl Store, milliseconds: u64) -> Result<()> {
    let (done, mut is_done) = mpsc::unbounded_channel();
    let handler = move |_: Event| {
        let done = done.clone();
        async move {
            SystemClock.sleep(Duration::from_millis(milliseconds)).await;
            done.send(SystemClock.wall()).expect("it is awaited");
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
            Some(time) = is_done.recv() => times.push(time),
            () = SystemClock.sleep(Duration::from_secs(2)), if !times.is_empty() => break,
        }
    }
    drop(stop);
    worker.await?;
    let seconds =
        |time: &SystemTime| time.duration_since(UNIX_EPOCH).map(|since| since.as_secs_f64());
    let (first, last) = (times.iter().min(), times.iter().max());
    let (first, last) = (first.ok_or("nothing was done")?, last.ok_or("nothing was done")?);
    println!("{} {} {}", times.len(), seconds(first)?, seconds(last)?);
    Ok(())
}

async fn deliver(store: impl Store) -> Result<f64> {
    let waiting = store.backlog().await?.iter().map(|one| one.waiting).sum::<u64>();
    let waiting = usize::try_from(waiting)?;
    let handled = AtomicUsize::new(0);
    let (stop, stopped) = oneshot::channel();
    let stop = Mutex::new(Some(stop));
    let handler = move || {
        if handled.fetch_add(1, Ordering::Relaxed) + 1 == waiting {
            drop(stop.lock().expect("nobody panics with it").take());
        }
    };
    let router = router(&store, handler)?;
    let inbox = Inbox::new(store, router.clone());
    let begun = SystemClock.monotonic();
    let worker = inbox.worker(router).concurrency(CONCURRENCY);
    worker.run(async { drop::<std::result::Result<(), _>>(stopped.await) }).await;
    Ok(a_second(waiting, begun))
}

async fn claim(store: &impl Store, times: usize) -> Result<f64> {
    let lease = Duration::from_secs(600);
    let wanted = ClaimRequest { handlers: vec![(HANDLER.into(), 16)], limit: 16, lease };
    let mut took = Vec::new();
    for _ in 0..times {
        let begun = SystemClock.monotonic();
        let claims = store.claim(&wanted).await?;
        took.push(SystemClock.monotonic() - begun);
        assert_eq!(claims.len(), 16, "so many wait");
        let ends: Vec<_> =
            claims.into_iter().map(|claim| (claim.lease, DeliveryOutcome::Released)).collect();
        store.complete(&ends).await?;
    }
    Ok(median(took))
}

async fn latency(store: impl Store, times: usize) -> Result<f64> {
    let (starts, mut started) = mpsc::unbounded_channel();
    let handler = move || starts.send(SystemClock.monotonic()).expect("it is awaited");
    let router = router(&store, handler)?;
    let inbox = Inbox::new(store, router.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = inbox.worker(router).run(async { drop(stopped.await) });
    let worker = tokio::spawn(worker);
    let mut took = Vec::new();
    for new in new(0, times, 3 * 1024) {
        // Nothing else goes on by then.
        SystemClock.sleep(Duration::from_millis(20)).await;
        inbox.clone().call(new.event).await?;
        let stored = SystemClock.monotonic();
        let start = started.recv().await.ok_or("the worker ended")?;
        took.push(start.saturating_duration_since(stored));
    }
    drop(stop);
    worker.await?;
    Ok(median(took))
}

fn median(mut took: Vec<Duration>) -> f64 {
    took.sort();
    took[took.len() / 2].as_secs_f64() * 1e6
}

fn a_second(count: usize, begun: Instant) -> f64 {
    count as f64 / (SystemClock.monotonic() - begun).as_secs_f64()
}
