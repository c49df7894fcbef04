//! Tests of the SQLite store: the conformance suite, and tests specific to a file.

use std::{
    str::FromStr as _,
    time::{Duration, UNIX_EPOCH},
};

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    SqliteOptions, SqliteStore, Store as _,
    conformance::Subject,
    store::{ClaimRequest, HandlerSlots, NewDelivery, NewEvent, StoreErrorKind, Stored},
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteLockingMode, SqlitePoolOptions},
};
use tempfile::TempDir;

struct TestInbox {
    store: SqliteStore,
    clock: ManualClock,
    folder: TempDir,
}

impl TestInbox {
    fn url(&self) -> String {
        format!("sqlite:{}/inbox.db", self.folder.path().display())
    }
}

#[async_trait::async_trait]
impl Subject for TestInbox {
    type Store = SqliteStore;

    async fn fresh() -> Self {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let url = format!("sqlite:{}/inbox.db", folder.path().display());
        let clock = ManualClock::at(SystemClock.wall());
        let store = SqliteStore::options().clock(clock.clone()).open(&url).await;
        let store = store.expect("the file can be created");
        Self { store, clock, folder }
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    async fn reopen(&self) -> SqliteStore {
        let store = SqliteStore::options().clock(self.clock.clone()).open(&self.url()).await;
        store.expect("the file exists")
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn set_back(&self, time: Duration) -> bool {
        self.clock.set_back(time);
        true
    }
}

router_inbox::store_conformance!(TestInbox);
router_inbox::operations_conformance!(TestInbox);

fn paid(id: &str) -> NewEvent {
    let event = SyntheticEvent::new("invoice.paid")
        .id(id)
        .build()
        .expect("the event type is in the catalog");
    let delivery = NewDelivery::new("a");
    NewEvent::new(event.event().clone(), vec![delivery])
}

fn wanted() -> ClaimRequest {
    ClaimRequest::new(vec![HandlerSlots::new("a", 9)], 9, Duration::from_secs(60))
}

/// Opens only an existing inbox.
fn existing_only() -> SqliteOptions {
    SqliteStore::options().create_if_missing(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_opens_create_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/inbox.db", folder.path().display());
    let open = || {
        let url = url.clone();
        tokio::spawn(async move {
            let store = SqliteStore::open(&url).await.map_err(|error| format!("{error:?}"))?;
            store.store(&[paid("evt_1")]).await.map_err(|error| format!("{error:?}"))
        })
    };
    let mut results = Vec::new();
    for task in [open(), open(), open(), open()] {
        results.extend(task.await.unwrap().unwrap());
    }
    assert_eq!(results.iter().filter(|stored| **stored == Stored::New).count(), 1, "{results:?}");
}

#[tokio::test]
async fn file_that_is_no_database_is_refused_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let text = "dear diary\n".repeat(500);
    std::fs::write(&path, &text).unwrap();
    let error = SqliteStore::open(&format!("sqlite:{}", path.display())).await.unwrap_err();
    let message = router_core::Failure::retry(error).to_string();
    assert!(message.contains("inbox.db cannot be opened as an inbox"), "{message}");
    assert!(message.contains("file is not a database"), "{message}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

/// An inbox in memory would lose its events, and a shared cache would block its readers.
#[tokio::test]
async fn url_without_a_file_or_with_unsafe_parameters_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let url = format!("sqlite:{}", path.display());
    let rows = [
        ("sqlite::memory:".to_owned(), "cannot be opened as an inbox"),
        ("sqlite:".to_owned(), "cannot be opened as an inbox"),
        (format!("sqlite:{}", folder.path().display()), "is a directory"),
        (format!("{url}?mode=memory"), "`mode` of the inbox's URL must be `rw` or `rwc`"),
        (format!("{url}?mdoe=hunter2"), "unknown parameter `mdoe`; did you mean `mode`?"),
        (format!("{url}?cache=shared"), "unknown parameter `cache`; known are mode"),
        (format!("{url}?immutable=1"), "unknown parameter `immutable`; known are mode"),
    ];
    for (url, expected) in rows {
        let error = SqliteStore::open(&url).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misuse, "{url}");
        let message = router_core::Failure::retry(error).to_string();
        assert!(message.contains(expected), "{url}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
        assert!(!path.exists(), "{url}");
    }
    SqliteStore::open(&format!("{url}?mode=rwc")).await.unwrap();
}

#[tokio::test]
async fn open_without_create_changes_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let url = format!("sqlite:{}", path.display());
    let open_error = async || {
        let error = existing_only().open(&url).await.unwrap_err();
        router_core::Failure::retry(error).to_string()
    };
    assert!(open_error().await.contains("inbox.db does not exist"));
    assert!(!path.exists());
    // A database of another program with a table of the same name, then an empty file.
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other_database = options.connect().await.unwrap();
    sqlx::raw_sql("create table events (id integer)").execute(&mut other_database).await.unwrap();
    other_database.close().await.unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(open_error().await.contains("is a database that contains no inbox"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::write(&path, "").unwrap();
    assert!(open_error().await.contains("is a database that contains no inbox"));
    std::fs::write(&path, "dear diary\n".repeat(500)).unwrap();
    assert!(open_error().await.contains("file is not a database"));
    std::fs::remove_file(&path).unwrap();
    SqliteStore::open(&url).await.unwrap().store(&[paid("evt_1")]).await.unwrap();
    let store = existing_only().open(&url).await.unwrap();
    assert_eq!(store.deliveries("evt_1").await.unwrap().len(), 1);
}

/// Executes statements in a file that need not exist, and returns the file's URL.
async fn execute(folder: &TempDir, statements: &str) -> String {
    let path = folder.path().join("inbox.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = options.connect().await.expect("folder is writable");
    let executed = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection);
    executed.await.expect("statements are valid");
    connection.close().await.expect("folder is writable");
    format!("sqlite:{}", path.display())
}

/// A newer version may share the file, or a deployment may have been rolled back.
#[tokio::test]
async fn file_of_newer_version_is_used_unchanged() {
    let inbox = TestInbox::fresh().await;
    let newer = "alter table stripe_inbox_events add column note text;
         create table stripe_inbox_future (note text);
         insert into stripe_inbox_migrations (step) values (99)";
    let url = execute(&inbox.folder, newer).await;
    let store = SqliteStore::open(&url).await.unwrap();
    assert_eq!(store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let pool = SqlitePool::connect(&url).await.unwrap();
    let steps = sqlx::query("select count(*), max(step) from stripe_inbox_migrations");
    let row = steps.fetch_one(&pool).await.unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (4, 99));
}

/// A shop's migrations or a partial backup may have removed part of the inbox.
#[tokio::test]
async fn incomplete_inbox_is_refused() {
    let rows = [
        ("drop table stripe_inbox_deliveries", "table `stripe_inbox_deliveries`"),
        (
            "alter table stripe_inbox_events drop column serial",
            "column `serial` of the table `stripe_inbox_events`",
        ),
        ("drop index stripe_inbox_deliveries_due", "index `stripe_inbox_deliveries_due`"),
        ("drop view stripe_inbox_generations", "view `stripe_inbox_generations`"),
        ("drop trigger stripe_inbox_event_stored", "trigger `stripe_inbox_event_stored`"),
    ];
    for (statement, missing) in rows {
        let inbox = TestInbox::fresh().await;
        let url = execute(&inbox.folder, statement).await;
        for options in [SqliteStore::options(), existing_only()] {
            let error = options.open(&url).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Misuse);
            let expected = format!(
                "{url} has an inbox without the {missing}; restore a backup of the file, or start with an \
                 empty inbox: drop everything whose name begins with `stripe_inbox_`"
            );
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[tokio::test]
async fn reserved_name_of_other_program_is_refused() {
    let rows = [
        ("create table stripe_inbox_events (id integer)", "table `stripe_inbox_events`"),
        ("create table Stripe_Inbox_report (id integer)", "table `Stripe_Inbox_report`"),
        ("create table stripe_inbox_migrations (version)", "table `stripe_inbox_migrations`"),
    ];
    for (statement, name) in rows {
        let folder = tempfile::tempdir().unwrap();
        let url = execute(&folder, statement).await;
        let error = SqliteStore::open(&url).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misuse);
        let expected = format!(
            "{url} has a {name} that the inbox did not create; rename it, because names that begin with \
             `stripe_inbox_` are reserved for the inbox"
        );
        assert_eq!(error.to_string(), expected);
        let error = existing_only().open(&url).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{url} is a database that contains no inbox"));
    }
}

#[tokio::test]
async fn inbox_from_before_the_prefix_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let former =
        include_str!("../../src/sqlite/migrations/1_inbox.sql").replace("stripe_inbox_", "");
    let url = execute(&folder, &former).await;
    for options in [SqliteStore::options(), existing_only()] {
        let error = options.open(&url).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misuse);
        let expected = format!(
            "{url} has an inbox from before its tables were renamed to `stripe_inbox_…`; finish its deliveries \
             with the program that wrote them, or start with a new file"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn store_opens_file_of_pool_with_settings_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/shop.db", folder.path().display());
    let options = SqliteConnectOptions::from_str(&url).unwrap().create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    pool.set_connect_options(
        SqliteConnectOptions::from_str(&url).unwrap().locking_mode(SqliteLockingMode::Exclusive),
    );
    let store = SqliteStore::from_pool(&pool).await.unwrap();
    // The store does not wait for the pool's only connection.
    let mut held = pool.acquire().await.unwrap();
    assert_eq!(store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    assert_eq!(store.claim(&wanted()).await.unwrap().len(), 1);
    let row = sqlx::query("select count(*) from stripe_inbox_events")
        .fetch_one(&mut *held)
        .await
        .unwrap();
    assert_eq!(row.get::<i64, _>(0), 1);
}

#[tokio::test]
async fn pool_in_memory_is_refused() {
    let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
    let error = SqliteStore::from_pool(&pool).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misuse);
    assert!(error.to_string().contains("in memory"), "{error}");
}

#[tokio::test]
async fn pool_that_cannot_connect_is_refused_with_its_file() {
    let pool = SqlitePool::connect_lazy("sqlite:/no/such/folder/inbox.db").unwrap();
    let error = SqliteStore::from_pool(&pool).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misuse);
    assert!(error.to_string().contains("/no/such/folder/inbox.db cannot be opened"), "{error}");
}

#[tokio::test]
async fn transaction_limit_out_of_range_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/inbox.db", folder.path().display());
    let open = async |limit| SqliteStore::options().transaction_limit(limit).open(&url).await;
    let day = Duration::from_secs(24 * 60 * 60);
    for limit in [Duration::ZERO, Duration::from_micros(999), day + Duration::from_nanos(1)] {
        let error = open(limit).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misuse);
        let expected = format!("transaction_limit is {limit:?}; it must be from 1 ms to 24 h");
        assert_eq!(error.to_string(), expected);
    }
    assert!(!folder.path().join("inbox.db").exists(), "the limit is checked first");
    for limit in [Duration::from_millis(1), day] {
        assert_eq!(open(limit).await.unwrap().blocking_limit(), limit);
    }
}

#[tokio::test]
async fn settings_apply_to_pool() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/shop.db?mode=rwc", folder.path().display());
    let pool = SqlitePool::connect(&url).await.unwrap();
    let error = existing_only().open_with(&pool).await.unwrap_err();
    assert!(error.to_string().ends_with("shop.db is a database that contains no inbox"), "{error}");
    let clock = ManualClock::at(SystemClock.wall() + Duration::from_secs(3_600));
    let options = SqliteStore::options().clock(clock.clone());
    let store = options.transaction_limit(Duration::from_secs(9)).open_with(&pool).await.unwrap();
    assert_eq!(store.blocking_limit(), Duration::from_secs(9));
    store.store(&[paid("evt_1")]).await.unwrap();
    let row =
        sqlx::query("select max(due) from stripe_inbox_deliveries").fetch_one(&pool).await.unwrap();
    let now = clock.wall().duration_since(UNIX_EPOCH).unwrap();
    assert_eq!(u128::try_from(row.get::<i64, _>(0)).unwrap(), now.as_millis());
    existing_only().open_with(&pool).await.unwrap();
}
