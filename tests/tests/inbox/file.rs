//! The SQLite file is moved, deleted, replaced or damaged while the server runs.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use router_core::{BoxError, Event, Failure, Router, State, on_event};
use router_inbox::{
    Inbox, SqliteStore, Store as _, Tx,
    sqlx::{Row as _, Sqlite, SqlitePool, query},
    store::{ClaimRequest, DeliveryState::Waiting, HandlerSlots},
};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tower::Service as _;
use tracing_subscriber::filter::LevelFilter;

use crate::shop::{event, wait_for_disk};
use router_tests::logged::{log, logged};

/// The line of the store. The watch of the backlog logs lines of its own.
const ERROR: &str = "ERROR router_inbox::sqlite::file";

struct Shop {
    inbox: Inbox<SqliteStore>,
    folder: TempDir,
}

impl Shop {
    /// Creates an inbox in a folder of its own, and stores an event.
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder is writable");
        let shop = Self::open(folder, "inbox.db").await;
        shop.receive("evt_before").await.expect("inbox is writable");
        shop
    }

    async fn open(folder: TempDir, name: &str) -> Self {
        log(LevelFilter::INFO);
        logged();
        let url = format!("sqlite:{}/{name}", folder.path().display());
        let store = SqliteStore::open(&url).await.expect("folder is writable");
        let router = Router::builder().without_linked();
        let router = router.handler("shop", ["invoice.paid"], async |_: Event| {});
        let router = router.delivered_by(&store).build().expect("router is valid");
        Self { inbox: Inbox::new(store, router), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn receive(&self, id: &str) -> Result<(), String> {
        let received = self.inbox.clone().call(event(id)).await;
        received.map(drop).map_err(|error| Failure::retry(error).to_string())
    }

    async fn claim(&self, handler: &str) -> Result<usize, String> {
        let handlers = vec![HandlerSlots::new(handler, 9)];
        let request = ClaimRequest::new(handlers, 9, Duration::from_secs(60));
        let claimed = self.inbox.store().claim(&request).await;
        claimed.map(|claims| claims.len()).map_err(|error| Failure::retry(error).to_string())
    }

    /// Asserts that nothing is stored or claimed, and that this is logged once.
    async fn assert_refuses(&self, reason: &str) {
        for id in ["evt_1", "evt_2"] {
            let error = self.receive(id).await.expect_err("the file has changed");
            assert!(error.contains(reason), "{error}");
        }
        // With due deliveries and without.
        for handler in ["shop", "another"] {
            let error = self.claim(handler).await.expect_err("the file has changed");
            assert!(error.contains(reason), "{error}");
        }
        let log = logged();
        assert_eq!(log.matches(ERROR).count(), 1, "{log}");
        assert!(log.contains(reason) && log.contains("answered with 503"), "{log}");
    }

    /// Asserts that events are stored and claimed again, and that this is logged.
    async fn assert_recovers(&self) {
        self.receive("evt_after").await.expect("the file is back");
        assert_eq!(self.claim("shop").await, Ok(2), "evt_before and evt_after");
        let log = logged();
        assert!(
            log.contains("the inbox's file can be used again") && !log.contains(ERROR),
            "{log}"
        );
    }
}

#[tokio::test]
async fn moved_file_refuses_events_until_it_is_back() {
    let shop = Shop::new().await;
    fs::rename(shop.path("inbox.db"), shop.path("elsewhere.db")).unwrap();
    shop.assert_refuses("inbox.db was moved or deleted").await;
    fs::rename(shop.path("elsewhere.db"), shop.path("inbox.db")).unwrap();
    shop.assert_recovers().await;
    // A second failure is logged again.
    fs::rename(shop.path("inbox.db"), shop.path("elsewhere.db")).unwrap();
    shop.assert_refuses("inbox.db was moved or deleted").await;
}

#[tokio::test]
async fn empty_claim_notices_a_moved_file() {
    let shop = Shop::new().await;
    assert_eq!(shop.claim("another").await, Ok(0));
    fs::rename(shop.path("inbox.db"), shop.path("elsewhere.db")).unwrap();
    assert!(shop.claim("another").await.is_err());
}

#[tokio::test]
async fn deleted_file_refuses_events() {
    let shop = Shop::new().await;
    for name in ["inbox.db", "inbox.db-wal", "inbox.db-shm"] {
        fs::remove_file(shop.path(name)).unwrap();
    }
    shop.assert_refuses("inbox.db was moved or deleted").await;
    assert!(!shop.path("inbox.db").exists(), "no empty file hides the loss");
}

#[tokio::test]
async fn file_replaced_by_a_copy_refuses_events() {
    let shop = Shop::new().await;
    fs::copy(shop.path("inbox.db"), shop.path("copy.db")).unwrap();
    fs::rename(shop.path("copy.db"), shop.path("inbox.db")).unwrap();
    shop.assert_refuses("inbox.db was replaced by another file").await;
}

#[tokio::test]
async fn deleted_wal_refuses_events() {
    for (name, advice) in [
        ("inbox.db-wal", "it is SQLite's write-ahead log, which holds the latest events"),
        ("inbox.db-shm", "it is the index of SQLite's write-ahead log and holds no events"),
    ] {
        let shop = Shop::new().await;
        fs::remove_file(shop.path(name)).unwrap();
        let reason = format!("{name} was moved or deleted while the inbox was open; {advice}");
        shop.assert_refuses(&reason).await;
    }
}

#[tokio::test]
async fn inaccessible_file_refuses_events_with_the_system_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let shop = Shop::open(folder, "data/inbox.db").await;
    fs::rename(shop.path("data"), shop.path("elsewhere")).unwrap();
    fs::write(shop.path("data"), "").unwrap();
    let reason = "inbox.db can no longer be accessed (Not a directory (os error 20))";
    shop.assert_refuses(reason).await;
}

#[tokio::test]
async fn moved_folder_refuses_events_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let shop = Shop::open(folder, "data/inbox.db").await;
    shop.receive("evt_before").await.unwrap();
    fs::rename(shop.path("data"), shop.path("elsewhere")).unwrap();
    shop.assert_refuses("inbox.db was moved or deleted").await;
    fs::rename(shop.path("elsewhere"), shop.path("data")).unwrap();
    shop.assert_recovers().await;
}

#[tokio::test]
async fn symbolic_link_to_another_file_refuses_events_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (link, target, other) = (path("inbox.db"), path("target.db"), path("other.db"));
    drop(SqliteStore::open(&format!("sqlite:{}", other.display())).await.unwrap());
    // The link refers to no file yet.
    symlink(&target, &link).unwrap();
    let relink = |to: &Path| {
        fs::remove_file(&link).unwrap();
        symlink(to, &link).unwrap();
    };
    let shop = Shop::open(folder, "inbox.db").await;
    shop.receive("evt_before").await.unwrap();
    relink(&other);
    shop.assert_refuses("inbox.db was replaced by another file").await;
    relink(&target);
    shop.assert_recovers().await;
}

#[derive(Clone)]
struct DatabaseFile(PathBuf);

#[on_event("invoice.paid", name = "shop")]
async fn record_and_move(
    event: Event,
    mut tx: Tx<Sqlite>,
    file: State<DatabaseFile>,
) -> Result<(), BoxError> {
    let db = tx.begin().await?;
    query("insert into orders values (?)").bind(event.id()).execute(db).await?;
    fs::rename(&file.0.0, file.0.0.with_extension("moved"))?;
    Ok(())
}

/// The handler's transaction has begun when the file is moved.
#[tokio::test]
async fn transaction_is_rolled_back_if_file_is_moved() {
    let shop = Shop::new().await;
    let path = shop.path("inbox.db");
    let db = SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    query("create table orders (event text primary key)").execute(&db).await.unwrap();
    let router =
        Router::builder().without_linked().add::<record_and_move>().state(DatabaseFile(path));
    let router = router.delivered_by(&**shop.inbox.store()).build().unwrap();
    let inbox = Inbox::new(SqliteStore::clone(shop.inbox.store()), router.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(inbox.worker(router).run(async { drop(stopped.await) }));
    wait_for_disk(async || shop.path("inbox.moved").exists()).await;
    // The worker records the failure once it can.
    let stored = async || shop.inbox.store().deliveries("evt_before").await;
    wait_for_disk(async || stored().await.is_err()).await;
    fs::rename(shop.path("inbox.moved"), shop.path("inbox.db")).unwrap();
    wait_for_disk(async || stored().await.is_ok_and(|stored| stored[0].state == Waiting)).await;
    let error = stored().await.unwrap()[0].error.clone().unwrap();
    assert!(error.contains("inbox.db was moved or deleted"), "{error}");
    let orders = query("select 1 from orders").fetch_all(&db).await.unwrap();
    assert!(orders.is_empty());
    drop(stop);
    worker.await.unwrap();
}

#[tokio::test]
async fn damaged_file_refuses_events_and_is_logged_once() {
    let shop = Shop::new().await;
    for id in 0..200 {
        shop.receive(&format!("evt_{id}")).await.unwrap();
    }
    let Shop { inbox, folder } = shop;
    drop(inbox);
    let path = folder.path().join("inbox.db");
    // Moves all pages from the WAL to the file, once no other connection uses the WAL.
    let db = SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    wait_for_disk(async || {
        let checkpoint = query("pragma wal_checkpoint(truncate)").fetch_one(&db).await;
        checkpoint.is_ok_and(|row| row.get::<i64, _>(0) == 0)
    })
    .await;
    db.close().await;
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let size = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(size / 2)).unwrap();
    file.write_all(&vec![b'x'; 64 * 1024]).unwrap();
    drop(file);
    let shop = Shop::open(folder, "inbox.db").await;
    wait_for_disk(async || shop.receive("evt_again").await.is_err()).await;
    shop.assert_refuses("inbox.db is damaged").await;
}
