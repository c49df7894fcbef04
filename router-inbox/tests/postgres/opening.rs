//! How a database becomes an inbox.

use std::time::UNIX_EPOCH;

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{Operations as _, PostgresStore, Store as _, Stored, operations::ListFilter};
use sqlx::{AssertSqlSafe, PgPool, Row as _, postgres::PgRow};

use crate::{
    support::{
        paid,
        postgres::{self, PASSWORD, unused_port},
        wanted,
    },
    told,
};

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
        "create table seen (commit text, isolation text, plan text);
         create function see() returns trigger language plpgsql as $$ begin
             insert into seen
             values (current_setting('synchronous_commit'), current_setting('transaction_isolation'),
                 current_setting('plan_cache_mode'));
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
    let seen = sqlx::query("select commit, isolation, plan from seen").fetch_all(&others).await;
    let texts = |row: &PgRow| [0, 1, 2].map(|at| row.get::<String, _>(at));
    let seen: Vec<_> = seen.unwrap().iter().map(texts).collect();
    assert_eq!(seen, vec![["on", "read committed", "force_custom_plan"].map(String::from); 2]);
}

/// One that runs beside this version, or whose steps were taken back by a deployment.
#[tokio::test]
async fn a_schema_from_a_newer_version_is_used_as_it_is() {
    let Some(server) = postgres::shared() else { return };
    let (url, schema) = (server.url(), postgres::unused_name());
    PostgresStore::connect_in(&url, &schema).await.unwrap();
    let newer = format!("insert into {schema}.migrations (step) values (99)");
    let database = PgPool::connect_lazy(&url).unwrap();
    sqlx::raw_sql(AssertSqlSafe(newer)).execute(&database).await.unwrap();
    let store = PostgresStore::connect_in(&url, &schema).await.unwrap();
    assert_eq!(store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
}

/// The tables may have been made by somebody who is trusted with more.
#[tokio::test]
async fn who_may_only_use_the_tables_can_use_them() {
    let Some(server) = postgres::shared() else { return };
    let (schema, user) = (postgres::unused_name(), postgres::unused_name());
    let admin = PgPool::connect_lazy(&server.url()).unwrap();
    let make = format!("create role {user} login password '{PASSWORD}'");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&admin).await.unwrap();
    let url = server.url().replace("postgres:of", &format!("{user}:of"));
    let error = PostgresStore::connect_in(&url, &schema).await.unwrap_err();
    let place = server.address();
    let is_told = format!(
        "the database postgres at {place} cannot be used as an \
         inbox: {user} may not make the inbox's tables; have `create schema \"{schema}\" authorization \"{user}\"` \
         run by somebody who may, or `grant all on schema …` where it is there: \
         permission denied for database postgres"
    );
    assert!(told(&error).starts_with(&is_told), "{}", told(&error));
    PostgresStore::connect_in(&server.url(), &schema).await.unwrap();
    let allow = format!(
        "grant usage on schema {schema} to {user};
         grant select, insert, update, delete on all tables in schema {schema} to {user}"
    );
    sqlx::raw_sql(AssertSqlSafe(allow)).execute(&admin).await.unwrap();
    let store = PostgresStore::connect_in(&url, &schema).await.unwrap();
    assert!(!format!("{store:?}").contains(PASSWORD), "{store:?}");
    assert_eq!(store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    assert_eq!(store.claim(&wanted(9)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_no_inbox_is_told_with_what_to_do() {
    let Some(server) = postgres::shared() else { return };
    let admin = PgPool::connect_lazy(&server.url()).unwrap();
    let make = "create database latin encoding 'LATIN1' template template0";
    sqlx::raw_sql(make).execute(&admin).await.unwrap();
    let (url, address) = (server.url(), server.address());
    let nowhere = format!("127.0.0.1:{}", unused_port());
    let at = |place: &str, what: &str| {
        format!("the database {place} cannot be used as an inbox: {what}")
    };
    let at_server = |database: &str, what: &str| at(&format!("{database} at {address}"), what);
    let unread = "the inbox's URL cannot be read; write postgres://user:password@host:5432/database, and in the \
                  password %40 for @, %2F for /, %3F for ?, %23 for # and %25 for %";
    let cases = [
        (
            url.replace(&address, &nowhere),
            at(
                &format!("postgres at {nowhere}"),
                "no server can be reached there; start it, or set host and port right in the URL: Connection refused",
            ),
        ),
        (
            url.replace("postgres:of", "postgres:not-of"),
            at_server(
                "postgres",
                "the server does not let postgres in so; set user and password right in the URL, or allow it in the \
                 server's pg_hba.conf: password authentication failed for user \"postgres\"",
            ),
        ),
        (
            server.url_of("shop"),
            at_server(
                "shop",
                "the server has no such database; make it with `create database \"shop\"`, or name another: \
                 database \"shop\" does not exist",
            ),
        ),
        (
            server.url_of("latin"),
            at_server(
                "latin",
                "its encoding is LATIN1, which does not have all characters of an event; make another with `create \
                 database … encoding 'UTF8' template template0`",
            ),
        ),
        (
            format!("{url}?sslmode=require"),
            at_server(
                "postgres",
                "no TLS that both sides trust; see `sslmode` and `sslrootcert` in the URL: server does not support \
                 TLS",
            ),
        ),
        (url.replace("postgres://", "mysql://"), unread.into()),
        // Half of a password that is not encoded must not be taken for something else, and shown.
        (url.replace("tests-", "/"), unread.into()),
        (url.replace("tests-", "?"), unread.into()),
        (url.replace("tests-", "#"), unread.into()),
        (format!("postgres://shop:1/of-the@{address}/shop"), unread.into()),
        (format!("postgres://shop:1?of-the@{address}/shop"), unread.into()),
        (
            format!("{url}?sslmode=maybe"),
            format!("{unread}: unknown value \"maybe\" for `ssl_mode`"),
        ),
    ];
    for (url, is_told) in cases {
        let error = PostgresStore::connect(&url).await.unwrap_err();
        let told = told(&error);
        assert!(told.starts_with(&is_told), "{told}");
        let all = format!("{told} {error:?}");
        assert!(!all.contains("of-the") && !all.contains("7c1f"), "{all}");
    }
    let ipv6 = url.replace("127.0.0.1", "[::1]");
    let error = told(&PostgresStore::connect(&ipv6).await.unwrap_err());
    assert!(error.contains("at [::1]:") && !error.contains("lookup"), "{error}");
    for name in ["", "Inbox", "1st", "in box", "in\"box", &"x".repeat(64)] {
        let error = PostgresStore::connect_in(&url, name).await.unwrap_err();
        assert!(told(&error).contains("cannot be the name of an inbox's schema"), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let connecting = PostgresStore::connect(&format!("postgres://postgres@{address}/shop")).await;
    let error = told(&connecting.unwrap_err());
    assert!(error.contains(&format!("the database shop at {address} cannot be used")), "{error}");
    assert!(error.contains("an inbox: no answer within 3s; set host and port right"), "{error}");
}

/// Whoever looks into an inbox has none of their own.
#[tokio::test]
async fn an_inbox_that_there_is_not_is_not_made() {
    let Some(server) = postgres::shared() else { return };
    let database = postgres::unused_name();
    let admin = PgPool::connect_lazy(&server.url()).unwrap();
    let make = format!("create database {database}");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&admin).await.unwrap();
    let url = server.url_of(&database);
    let is_told = format!(
        "the database {database} at {} cannot be used as an inbox: there is none in it; the server that receives into \
         one makes its tables, so see whether the URL is that server's",
        server.address()
    );
    assert_eq!(told(&PostgresStore::connect_existing(&url).await.unwrap_err()), is_told);
    let there = PgPool::connect_lazy(&url).unwrap();
    sqlx::raw_sql("create schema stripe_inbox").execute(&there).await.unwrap();
    assert_eq!(told(&PostgresStore::connect_existing(&url).await.unwrap_err()), is_told);
    let tables = "select count(*) from pg_class where relnamespace = 'stripe_inbox'::regnamespace";
    let tables: i64 = sqlx::query(tables).fetch_one(&there).await.unwrap().get(0);
    assert_eq!(tables, 0);
    PostgresStore::connect(&url).await.unwrap().store(&[paid("evt_1")]).await.unwrap();
    let store = PostgresStore::connect_existing(&url).await.unwrap();
    assert_eq!(store.deliveries("evt_1").await.unwrap().len(), 1);
}

/// With what an older version has stored, and goes on to store, also where it may use no more than what it has made.
#[tokio::test]
async fn a_schema_of_an_older_version_can_be_operated() {
    let Some(server) = postgres::shared() else { return };
    let (url, schema, user) = (server.url(), postgres::unused_name(), postgres::unused_name());
    let admin = PgPool::connect_lazy(&url).unwrap();
    let run = async |database: &PgPool, statements: &str| {
        let statements = statements.replace("inbox.", &format!("{schema}."));
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(database).await.unwrap();
    };
    let first = include_str!("../../src/postgres/schema.sql");
    let older = format!(
        "create schema {schema};
         create table inbox.migrations (step integer primary key, applied_at timestamptz not null default now());
         {first};
         insert into inbox.migrations (step) values (1);
         create role {user} login password '{PASSWORD}';
         grant usage on schema {schema} to {user};
         grant select, insert, update, delete on all tables in schema {schema} to {user};"
    );
    run(&admin, &older).await;
    let older = PgPool::connect_lazy(&url.replace("postgres:of", &format!("{user}:of"))).unwrap();
    let store = |id: &str, handler: &str| {
        format!(
            "begin;
             insert into inbox.events (key, endpoint, event_id, generation, type, object, payload, stored_at)
             values ('{id}', 'default', '{id}', 0, 'invoice.paid', 'in_1', '', 0);
             insert into inbox.deliveries (event, handler, due, lane)
             select id, '{handler}', 0, 1 from inbox.events where event_id = '{id}' and '{handler}' <> '';
             commit"
        )
    };
    run(&older, &store("evt_1", "a")).await;
    run(&older, &store("evt_unhandled_1", "")).await;
    let newer = PostgresStore::connect_in(&url, &schema).await.unwrap();
    run(&older, &store("evt_2", "b")).await;
    run(&older, &store("evt_unhandled_2", "")).await;
    let status = newer.status().await.unwrap();
    assert_eq!((status.events, status.unhandled, status.finished), (4, 2, 0));
    let handlers: Vec<_> = status.handlers.iter().map(|one| (&*one.handler, one.due)).collect();
    assert_eq!(handlers, [("a", 1), ("b", 1)]);
    let unhandled = ListFilter { unhandled: true, limit: 9, ..ListFilter::default() };
    let listed: Vec<_> = newer.list(&unhandled).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|listed| &*listed.event.id).collect();
    assert_eq!(listed, ["evt_unhandled_2", "evt_unhandled_1"]);
    let invoices = ListFilter { object: Some("in_1".into()), limit: 9, ..ListFilter::default() };
    assert_eq!(newer.list(&invoices).await.unwrap().len(), 2);
}
