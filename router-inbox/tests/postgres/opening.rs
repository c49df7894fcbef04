//! How a database becomes an inbox.

use std::time::UNIX_EPOCH;

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{PostgresStore, Store as _, Stored};
use sqlx::{AssertSqlSafe, PgPool, Row as _};

use crate::support::{paid, postgres, wanted};

#[tokio::test(flavor = "multi_thread")]
async fn many_can_make_the_tables_at_once() {
    let Some(server) = postgres::shared() else { return };
    let (url, schema) = (server.url(), postgres::unused_name());
    let open = || {
        let (url, schema) = (url.clone(), schema.clone());
        tokio::spawn(async move {
            let store = PostgresStore::connect_in(&url, &schema).await;
            let store = store.map_err(|error| format!("{error:?}"))?;
            store.store(&[paid("evt_1")]).await.map_err(|error| format!("{error:?}"))
        })
    };
    let mut told = Vec::new();
    for task in [open(), open(), open(), open()] {
        told.extend(task.await.unwrap().unwrap());
    }
    assert_eq!(told.iter().filter(|told| **told == Stored::New).count(), 1, "{told:?}");
}

/// And none of the machines on which the store is opened.
#[tokio::test]
async fn the_time_is_the_servers() {
    let Some(server) = postgres::shared() else { return };
    let (url, schema) = (server.url(), postgres::unused_name());
    PostgresStore::connect_in(&url, &schema).await.unwrap();
    let database = PgPool::connect_lazy(&url).unwrap();
    let now = sqlx::query(AssertSqlSafe(format!("select {schema}.inbox_now()")));
    let now: i64 = now.fetch_one(&database).await.unwrap().get(0);
    let ours = SystemClock.wall().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    assert!((ours - now).abs() < 60_000, "{now} and {ours}, of one machine");
}

/// A database may be set otherwise, for others that use it.
#[tokio::test]
async fn a_session_is_set_as_the_store_needs_it() {
    let Some(server) = postgres::shared() else { return };
    let database = postgres::unused_name();
    let admin = PgPool::connect_lazy(&server.url()).unwrap();
    let make = format!("create database {database}");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&admin).await.unwrap();
    let set = format!(
        "alter database {database} set synchronous_commit = off;
         alter database {database} set default_transaction_isolation = 'serializable';"
    );
    sqlx::raw_sql(AssertSqlSafe(set)).execute(&admin).await.unwrap();
    let url = server.url_of(&database);
    let store = PostgresStore::connect(&url).await.unwrap();
    let others = PgPool::connect_lazy(&url).unwrap();
    sqlx::raw_sql(
        "create table seen (commit text, isolation text);
         create function see() returns trigger language plpgsql as $$ begin
             insert into seen
             values (current_setting('synchronous_commit'), current_setting('transaction_isolation'));
             return new;
         end $$;
         create trigger see before insert or update on stripe_inbox.deliveries
         for each row execute function public.see()",
    )
    .execute(&others)
    .await
    .unwrap();
    store.store(&[paid("evt_1")]).await.unwrap();
    store.claim(&wanted(9)).await.unwrap();
    let seen = sqlx::query("select commit, isolation from seen").fetch_all(&others).await.unwrap();
    let seen: Vec<(String, String)> = seen.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(seen, vec![("on".into(), "read committed".into()); 2]);
}
