//! A shop over some days: handlers fail at random, one is mended and one is added, and Stripe
//! resends every event in random order. In the end each handler has done each event.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use router_core::{
    BoxError, Event, Failure, Router, State,
    build::RouterBuilder,
    on_event,
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    Inbox, SqliteStore, Store as _, Tx,
    operations::{ListFilter, Operations as _},
    sqlx::{self, Row as _, Sqlite},
    store::DeliveryState,
};
use router_tests::now;
use tower::Service as _;

const EVENTS: usize = 500;

/// The state of the shop's handlers.
struct Shop {
    random: Mutex<fastrand::Rng>,
    /// The number of times each handler without a transaction has done each event.
    done: Mutex<HashMap<(&'static str, String), u32>>,
    /// `true` while handlers also fail permanently at random.
    fails_permanently: AtomicBool,
    /// `true` once the bug in `shop.broken` is mended.
    is_mended: AtomicBool,
}

impl Shop {
    fn new(random: fastrand::Rng) -> Self {
        Self {
            random: Mutex::new(random),
            done: Mutex::default(),
            fails_permanently: AtomicBool::new(true),
            is_mended: AtomicBool::new(false),
        }
    }

    /// Fails in one of four attempts: half of the failures are permanent while that is switched on.
    fn maybe_fail(&self) -> Result<(), Failure> {
        let choice = self.random.lock().expect("mutex is not poisoned").u8(..8);
        match choice {
            0 => Err(Failure::retry("the warehouse is down")),
            1 if self.fails_permanently.load(Ordering::Relaxed) => {
                Err(Failure::permanent("the order is unknown"))
            }
            _ => Ok(()),
        }
    }

    fn count(&self, handler: &'static str, event: &Event) {
        let key = (handler, event.id().to_owned());
        *self.done.lock().expect("mutex is not poisoned").entry(key).or_default() += 1;
    }
}

#[on_event("invoice.paid", name = "shop.ledger", retry(max_attempts = 20))]
async fn ledger(event: Event, shop: State<Shop>, mut tx: Tx<Sqlite>) -> Result<(), Failure> {
    let insert = sqlx::query("insert into ledger (event) values (?)").bind(event.id());
    let db = tx.begin().await.map_err(Failure::retry)?;
    insert.execute(db).await.map_err(Failure::retry)?;
    shop.maybe_fail()
}

#[on_event("invoice.paid", name = "shop.mail", retry(max_attempts = 20))]
async fn mail(event: Event, shop: State<Shop>) -> Result<(), Failure> {
    shop.maybe_fail()?;
    shop.count("shop.mail", &event);
    Ok(())
}

#[on_event("invoice.paid", name = "shop.broken", retry(max_attempts = 3))]
async fn broken(event: Event, shop: State<Shop>) -> Result<(), BoxError> {
    if !shop.is_mended.load(Ordering::Relaxed) {
        return Err("a bug in the handler".into());
    }
    shop.count("shop.broken", &event);
    Ok(())
}

#[on_event("invoice.paid", name = "shop.added", retry(max_attempts = 20))]
async fn added(event: Event, shop: State<Shop>) -> Result<(), Failure> {
    shop.maybe_fail()?;
    shop.count("shop.added", &event);
    Ok(())
}

/// The inbox of the shop, with the store's clock.
struct Program {
    inbox: Inbox<SqliteStore>,
    clock: ManualClock,
}

impl Program {
    fn start(router: RouterBuilder, store: &SqliteStore, clock: &ManualClock) -> Self {
        let router = router.clock(clock.clone()).delivered_by(store).build();
        let inbox = Inbox::new(store.clone(), router.expect("router is valid"));
        Self { inbox: inbox.clock(clock.clone()), clock: clock.clone() }
    }

    /// Receives events, many at a time, and delivers some in between.
    async fn receive(&self, events: &[Event]) {
        for batch in events.chunks(200) {
            let mut receiving = tokio::task::JoinSet::new();
            for event in batch.iter().cloned() {
                let mut inbox = self.inbox.clone();
                receiving.spawn(async move { inbox.call(event).await });
            }
            for received in receiving.join_all().await {
                received.expect("event is stored");
            }
            self.deliver().await;
        }
    }

    /// Runs the due deliveries.
    async fn deliver(&self) {
        let worker = self.inbox.worker(self.inbox.router().clone()).concurrency(300);
        worker.run_until_idle().await;
        self.clock.advance(Duration::from_secs(20));
    }

    /// Delivers until nothing is waiting.
    async fn deliver_all(&self) {
        while !self.inbox.store().backlog().await.expect("store is available").is_empty() {
            self.deliver().await;
            self.clock.advance(Duration::from_secs(60 * 60));
        }
    }
}

async fn dead_letters(store: &SqliteStore) -> usize {
    let dead = ListFilter { states: vec![DeliveryState::Dead], limit: 9_999, ..Default::default() };
    store.list(&dead).await.expect("store is available").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_handler_does_each_event_after_resends() {
    let seed = std::env::var("SHOP_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("SHOP_SEED is a number"));
    println!("SHOP_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let clock = ManualClock::at(now());
    let url = format!("sqlite:{}", path.display());
    let store = SqliteStore::options().clock(clock.clone()).open(&url).await.unwrap();
    let mut db = sqlx::SqlitePool::connect(&url).await.unwrap().acquire().await.unwrap();
    sqlx::query("create table ledger (event text not null)").execute(&mut *db).await.unwrap();
    let mut events: Vec<Event> = (0..EVENTS)
        .map(|number| {
            let event = SyntheticEvent::new("invoice.paid").id(format!("evt_{number}"));
            event.build().unwrap().event().clone()
        })
        .collect();
    let shop = Arc::new(Shop::new(random.fork()));
    let router = || {
        let router = Router::builder().without_linked().shared_state(shop.clone());
        router.add::<ledger>().add::<mail>().add::<broken>()
    };

    let first = Program::start(router(), &store, &clock);
    first.receive(&events[..EVENTS / 2]).await;
    first.deliver_all().await;
    assert!(dead_letters(&store).await >= EVENTS / 2, "each event of `shop.broken` is dead");

    // The bug is mended and a handler is added, in the middle.
    shop.is_mended.store(true, Ordering::Relaxed);
    let second = Program::start(router().add::<added>(), &store, &clock);
    second.receive(&events[EVENTS / 2..]).await;
    random.shuffle(&mut events);
    second.receive(&events).await;
    shop.fails_permanently.store(false, Ordering::Relaxed);
    second.deliver_all().await;
    random.shuffle(&mut events);
    second.receive(&events).await;
    second.deliver_all().await;

    assert_eq!(dead_letters(&store).await, 0);
    let rows = sqlx::query("select count(*), count(distinct event) from ledger");
    let row = rows.fetch_one(&mut *db).await.unwrap();
    let expected = i64::try_from(EVENTS).unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (expected, expected));
    let done = shop.done.lock().unwrap();
    for handler in ["shop.mail", "shop.broken", "shop.added"] {
        for event in &events {
            let times = done.get(&(handler, event.id().to_owned())).copied();
            assert_eq!(times, Some(1), "{handler}, {}", event.id());
        }
    }
}
