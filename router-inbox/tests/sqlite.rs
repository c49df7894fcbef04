//! The store in a SQLite file keeps the promises of every store, and outlives whoever opened it.

use std::time::Duration;

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    Completed, End, NewDelivery, NewEvent, SqliteStore, State, Store as _, Stored, Wanted,
    conformance::Subject,
};
use tempfile::TempDir;

struct InSqlite {
    store: SqliteStore,
    clock: ManualClock,
    folder: TempDir,
}

impl InSqlite {
    fn url(&self) -> String {
        format!("sqlite:{}/inbox.db", self.folder.path().display())
    }
}

#[async_trait::async_trait]
impl Subject for InSqlite {
    type Store = SqliteStore;

    async fn fresh() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let url = format!("sqlite:{}/inbox.db", folder.path().display());
        let clock = ManualClock::at(SystemClock.wall());
        let store = SqliteStore::open(&url).await.expect("it can be made").clock(clock.clone());
        Self { store, clock, folder }
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

router_inbox::store_conformance!(InSqlite);
router_inbox::operations_conformance!(InSqlite);

fn paid(id: &str) -> NewEvent {
    let event = SyntheticEvent::new("invoice.paid").id(id).build().expect("there is such an event");
    let delivery = NewDelivery { handler: "a".into(), ordered: false };
    NewEvent { event: event.event().clone(), deliveries: vec![delivery] }
}

fn wanted() -> Wanted {
    Wanted { handlers: vec![("a".into(), 9)], limit: 9, lease: Duration::from_secs(60) }
}

#[tokio::test]
async fn what_was_stored_is_there_when_the_file_is_opened_again() {
    let inbox = InSqlite::fresh().await;
    assert_eq!(inbox.store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let again = SqliteStore::open(&inbox.url()).await.unwrap();
    assert_eq!(again.store(&[paid("evt_1")]).await.unwrap(), [Stored::Duplicate]);
    // Two that have it open at once do not claim one delivery both.
    let again = again.clock(inbox.clock.clone());
    let lease = again.claim(&wanted()).await.unwrap().remove(0).lease;
    assert!(inbox.store.claim(&wanted()).await.unwrap().is_empty());
    let completed = inbox.store.complete(&[(lease, End::Done)]).await.unwrap();
    assert_eq!(completed, [Completed::Recorded]);
    assert_eq!(again.deliveries("evt_1").await.unwrap()[0].state, State::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_can_make_the_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/inbox.db", folder.path().display());
    let open = || {
        let url = url.clone();
        tokio::spawn(async move {
            let store = SqliteStore::open(&url).await.map_err(|error| format!("{error:?}"))?;
            store.store(&[paid("evt_1")]).await.map_err(|error| format!("{error:?}"))
        })
    };
    let mut told = Vec::new();
    for task in [open(), open(), open(), open()] {
        told.extend(task.await.unwrap().unwrap());
    }
    assert_eq!(told.iter().filter(|told| **told == Stored::New).count(), 1, "{told:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let text = "dear diary\n".repeat(500);
    std::fs::write(&path, &text).unwrap();
    let error = SqliteStore::open(&format!("sqlite:{}", path.display())).await.unwrap_err();
    let told = router_core::Failure::retry(error).to_string();
    assert!(told.contains("inbox.db cannot be opened as an inbox"), "{told}");
    assert!(told.contains("file is not a database"), "{told}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}
