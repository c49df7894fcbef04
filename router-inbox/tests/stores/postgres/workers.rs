//! The records of running workers.

use std::{sync::Arc, time::Duration};

use router_inbox::{
    Store as _,
    conformance::Subject as _,
    store::{StoreErrorKind, Stored, WorkerInfo},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::TestInbox;
use crate::support::{error_chain, paid, wanted};

const TTL: Duration = Duration::from_secs(60);

fn worker(name: &str) -> WorkerInfo {
    WorkerInfo::new(name, [Arc::from("a")])
}

async fn recorded(inbox: &TestInbox) -> String {
    let names = "select coalesce(string_agg(name, ' ' order by name), '') from inbox.workers";
    let names = AssertSqlSafe(names.replace("inbox.", &format!("{}.", inbox.schema)));
    let row = sqlx::query(names).fetch_one(&inbox.database).await;
    row.expect("the inbox has the table").get(0)
}

#[tokio::test]
async fn expired_worker_is_deleted_by_next_report() {
    let Some(inbox) = TestInbox::create().await else { return };
    for name in ["a", "b", "c"] {
        inbox.store.report_worker(&worker(name), TTL).await.unwrap();
    }
    inbox.store.report_worker(&worker("b"), TTL * 3).await.unwrap();
    assert_eq!(recorded(&inbox).await, "a b c");
    inbox.pass(TTL).await;
    assert_eq!(recorded(&inbox).await, "a b c");
    inbox.store.report_worker(&worker("d"), TTL).await.unwrap();
    assert_eq!(recorded(&inbox).await, "b d");
    inbox.store.report_worker(&worker("d"), Duration::ZERO).await.unwrap();
    assert_eq!(recorded(&inbox).await, "b");
}

/// Two workers that report at once, each while the other's record has expired, would otherwise wait
/// for each other.
#[tokio::test]
async fn report_does_not_wait_for_record_of_other_worker() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.report_worker(&worker("a"), TTL).await.unwrap();
    inbox.pass(TTL).await;
    let mut other = PgConnection::connect(&inbox.url).await.unwrap();
    let mut write = other.begin().await.unwrap();
    let update = format!("update {}.workers set handlers = handlers", inbox.schema);
    sqlx::raw_sql(AssertSqlSafe(update)).execute(&mut *write).await.unwrap();
    inbox.store.report_worker(&worker("b"), TTL).await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(recorded(&inbox).await, "a b");
    assert_eq!(inbox.store.workers().await.unwrap(), Some(vec![worker("b")]));
}

/// The privileges may have been granted before the table existed.
#[tokio::test]
async fn user_without_privilege_for_workers_still_delivers() {
    let Some(inbox) = TestInbox::create().await else { return };
    let store = inbox.open_without_privilege_for("workers").await.unwrap();
    assert_eq!(store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let reported = store.report_worker(&worker("a"), TTL).await.unwrap_err();
    let listed = store.workers().await.unwrap_err();
    for error in [reported, listed] {
        assert_eq!(error.kind(), StoreErrorKind::Misuse);
        let text = error_chain(&error);
        assert!(text.contains("permission denied for table workers"), "{text}");
    }
    assert_eq!(store.claim(&wanted(9)).await.unwrap().len(), 1);
}
