//! Connecting: creating the tables, privileges, newer versions, errors.

use std::{
    num::NonZeroU32,
    time::{Duration, UNIX_EPOCH},
};

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    PostgresStore, Store as _,
    operations::ListFilter,
    store::{NewEvent, Operations as _, Redelivery, StoreErrorKind, Stored},
};
use router_test_servers::{
    postgres::{self, PASSWORD},
    unused_name, unused_port,
};
use sqlx::{
    AssertSqlSafe, PgPool, Row as _,
    postgres::{PgPoolOptions, PgRow},
};

use super::TestInbox;
use crate::support::{error_chain, paid, wanted};

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_connects_create_one_schema() {
    let Some(server) = postgres::shared() else { return };
    let (url, schema) = (server.url(), unused_name());
    let open = || {
        let (url, schema) = (url.clone(), schema.clone());
        tokio::spawn(async move {
            let store = PostgresStore::options().schema(&schema).connect(&url).await;
            let store = store.map_err(|error| format!("{error:?}"))?;
            store.store(&[paid("evt_1")]).await.map_err(|error| format!("{error:?}"))
        })
    };
    let mut results = Vec::new();
    for task in [open(), open(), open(), open()] {
        results.extend(task.await.unwrap().unwrap());
    }
    assert_eq!(results.iter().filter(|stored| **stored == Stored::New).count(), 1, "{results:?}");
}

/// Not of the machine that runs the store.
#[tokio::test]
async fn time_is_the_servers() {
    let Some(server) = postgres::shared() else { return };
    let (url, schema) = (server.url(), unused_name());
    PostgresStore::options().schema(&schema).connect(&url).await.unwrap();
    let database = PgPool::connect_lazy(&url).unwrap();
    let now = sqlx::query(AssertSqlSafe(format!("select {schema}.inbox_now()")));
    let now: i64 = now.fetch_one(&database).await.unwrap().get(0);
    let ours = SystemClock.wall().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    assert!((ours - now).abs() < 60_000, "{now} and {ours} on one machine");
}

/// The database may have other settings, for its other users.
#[tokio::test]
async fn session_settings_override_database() {
    let Some(server) = postgres::shared() else { return };
    let database = unused_name();
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
    let application = PgPool::connect_lazy(&url).unwrap();
    sqlx::raw_sql(
        "create table seen (commit text, isolation text, plan text, statement text, idle text);
         create function see() returns trigger language plpgsql as $$ begin
             insert into seen
             values (current_setting('synchronous_commit'), current_setting('transaction_isolation'),
                 current_setting('plan_cache_mode'), current_setting('statement_timeout'),
                 current_setting('idle_session_timeout'));
             return new;
         end $$;
         create trigger see before insert or update on stripe_inbox.deliveries
         for each row execute function public.see()",
    )
    .execute(&application)
    .await
    .unwrap();
    store.store(&[paid("evt_1")]).await.unwrap();
    store.claim(&wanted(9)).await.unwrap();
    let seen = sqlx::query("select * from seen").fetch_all(&application).await;
    let texts = |row: &PgRow| [0, 1, 2, 3, 4].map(|column| row.get::<String, _>(column));
    let seen: Vec<_> = seen.unwrap().iter().map(texts).collect();
    let settings = ["on", "read committed", "force_custom_plan", "6s", "15min"];
    assert_eq!(seen, vec![settings.map(String::from); 2]);
}

#[tokio::test]
async fn store_connects_with_options_of_pool() {
    let Some(server) = postgres::shared() else { return };
    let database = unused_name();
    let admin = PgPool::connect_lazy(&server.url()).unwrap();
    let make = format!("create database {database}");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&admin).await.unwrap();
    let url = format!("{}?application_name={database}", server.url_of(&database));
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&url).unwrap();
    let store = PostgresStore::from_pool(&pool).await.unwrap();
    // The store does not wait for the pool's only connection, whose settings are unchanged.
    let mut held = pool.acquire().await.unwrap();
    assert_eq!(store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let settings = sqlx::query(
        "select current_setting('statement_timeout'), count(*) from pg_stat_activity
         where application_name = $1 and datname = current_database()",
    );
    let row = settings.bind(&database).fetch_one(&mut *held).await.unwrap();
    assert_eq!((row.get::<String, _>(0), row.get::<i64, _>(1)), ("0".to_owned(), 2));
}

#[tokio::test]
async fn settings_apply_to_pool() {
    let Some(server) = postgres::shared() else { return };
    let (schema, pool) = (unused_name(), PgPool::connect_lazy(&server.url()).unwrap());
    let options = PostgresStore::options().schema(&schema);
    let existing = options.clone().create_if_missing(false).connect_with(&pool).await;
    assert!(error_chain(&existing.unwrap_err()).contains("it contains no inbox"));
    options.connect_with(&pool).await.unwrap().store(&[paid("evt_1")]).await.unwrap();
    let events = format!("select count(*) from {schema}.events");
    let events = sqlx::query_scalar(AssertSqlSafe(events)).fetch_one(&pool).await;
    assert_eq!(events.unwrap_or(0_i64), 1);
}

#[tokio::test]
async fn operation_fails_after_acquire_timeout() {
    let Some(inbox) = TestInbox::create().await else { return };
    let options = PostgresStore::options().connections(NonZeroU32::MIN);
    let store = inbox.reopen_with(options.acquire_timeout(Duration::from_millis(200))).await;
    let mut lock = inbox.database.begin().await.unwrap();
    let statement = format!("lock table {}.deliveries in access exclusive mode", inbox.schema);
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *lock).await.unwrap();
    // Each holds or waits for the only connection, and the first one does for up to 6 s.
    let (request, began) = (wanted(9), SystemClock.monotonic());
    let error = tokio::select! {
        result = store.claim(&request) => result.unwrap_err(),
        result = store.claim(&request) => result.unwrap_err(),
    };
    let took = SystemClock.monotonic() - began;
    assert!(took < Duration::from_secs(3), "{took:?}, as by default");
    assert!(error_chain(&error).contains("within 200ms"), "{error:?}");
    assert_eq!(error.kind(), StoreErrorKind::Busy);
}

#[tokio::test]
async fn acquire_timeout_out_of_range_is_refused() {
    for timeout in [Duration::from_millis(99), Duration::from_millis(3_001)] {
        let options = PostgresStore::options().acquire_timeout(timeout);
        let error = options.connect("postgres://localhost/shop").await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misuse);
        assert_eq!(
            error_chain(&error),
            format!(
                "acquire_timeout is {timeout:?}; it must be from 100ms to 3s, so that a statement can \
                 follow within the time limit of an operation"
            )
        );
    }
}

#[tokio::test]
async fn pool_without_server_is_refused() {
    let pool = PgPool::connect_lazy(&format!("postgres://127.0.0.1:{}/shop", unused_port()));
    let error = PostgresStore::from_pool(&pool.unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error_chain(&error).contains("the server cannot be reached"), "{error:?}");
}

/// A newer version may share the database, or a deployment may have been rolled back.
#[tokio::test]
async fn schema_of_newer_version_is_used() {
    let Some(server) = postgres::shared() else { return };
    let (url, schema) = (server.url(), unused_name());
    PostgresStore::options().schema(&schema).connect(&url).await.unwrap();
    let newer = format!("insert into {schema}.migrations (step) values (99)");
    let database = PgPool::connect_lazy(&url).unwrap();
    sqlx::raw_sql(AssertSqlSafe(newer)).execute(&database).await.unwrap();
    let store = PostgresStore::options().schema(&schema).connect(&url).await.unwrap();
    assert_eq!(store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
}

/// The schema may hold tables of another program, for example if it is `public`.
#[tokio::test]
async fn schema_of_other_program_is_refused() {
    let Some(server) = postgres::shared() else { return };
    let database = PgPool::connect_lazy(&server.url()).unwrap();
    for tables in ["events (id integer)", "migrations (version integer)"] {
        let schema = unused_name();
        let create = format!("create schema {schema}; create table {schema}.{tables}");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&database).await.unwrap();
        let connected = PostgresStore::options().schema(&schema).connect(&server.url()).await;
        let error = connected.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misuse);
        let advice = format!(
            "the schema {schema} has tables of another program; choose a schema for the inbox alone \
             with `PostgresStore::options().schema(…)`: "
        );
        assert!(error_chain(&error).contains(&advice), "{}", error_chain(&error));
    }
}

#[tokio::test]
async fn schema_without_a_table_of_the_inbox_is_refused() {
    let Some(inbox) = TestInbox::create().await else { return };
    let drop = format!("drop table {}.newest_done", inbox.schema);
    sqlx::raw_sql(AssertSqlSafe(drop)).execute(&inbox.database).await.unwrap();
    let connected = PostgresStore::options().schema(&inbox.schema).connect(&inbox.url).await;
    let (error, schema) = (connected.unwrap_err(), &inbox.schema);
    assert_eq!(error.kind(), StoreErrorKind::Misuse);
    let advice = format!(
        "its inbox has no table {schema}.newest_done. If another version of router-inbox has made it, finish \
         its deliveries with that version, or name another schema with \
         `PostgresStore::options().schema(…)`. Otherwise restore a backup of the schema"
    );
    assert!(error_chain(&error).ends_with(&advice), "{}", error_chain(&error));
}

/// Another user, with more privileges, may have created the tables.
#[tokio::test]
async fn user_needs_no_right_to_create_tables() {
    let Some(server) = postgres::shared() else { return };
    let (schema, user) = (unused_name(), unused_name());
    let admin = PgPool::connect_lazy(&server.url()).unwrap();
    let make = format!("create role {user} login password '{PASSWORD}'");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&admin).await.unwrap();
    let url = server.url().replace("postgres:of", &format!("{user}:of"));
    let error = PostgresStore::options().schema(&schema).connect(&url).await.unwrap_err();
    let address = server.address();
    let expected = format!(
        "the database postgres at {address} cannot be used as an \
         inbox: user {user} may not create the inbox's tables; run `create schema \"{schema}\" authorization \
         \"{user}\"` as a user who may, or `grant all on schema …` if the schema exists: \
         permission denied for database postgres"
    );
    assert!(error_chain(&error).starts_with(&expected), "{}", error_chain(&error));
    PostgresStore::options().schema(&schema).connect(&server.url()).await.unwrap();
    let allow = format!(
        "grant usage on schema {schema} to {user};
         grant select, insert, update, delete on all tables in schema {schema} to {user}"
    );
    sqlx::raw_sql(AssertSqlSafe(allow)).execute(&admin).await.unwrap();
    let store = PostgresStore::options().schema(&schema).connect(&url).await.unwrap();
    assert!(!format!("{store:?}").contains(PASSWORD), "{store:?}");
    assert_eq!(store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    assert_eq!(store.claim(&wanted(9)).await.unwrap().len(), 1);
    let unhandled = NewEvent::new(paid("evt_2").event, Vec::new());
    assert_eq!(store.store(&[unhandled]).await.unwrap(), [Stored::New]);
    let added = Stored::Redelivered(vec![Redelivery::Added]);
    assert_eq!(store.store(&[paid("evt_2")]).await.unwrap(), [added]);
    let filter = ListFilter { unhandled: true, limit: 9, ..ListFilter::default() };
    assert_eq!(store.list(&filter).await.unwrap(), []);
}

#[tokio::test]
async fn unusable_database_error_has_advice() {
    let Some(server) = postgres::shared() else { return };
    let admin = PgPool::connect_lazy(&server.url()).unwrap();
    let make = "create database latin encoding 'LATIN1' template template0";
    sqlx::raw_sql(make).execute(&admin).await.unwrap();
    let (url, address) = (server.url(), server.address());
    let nowhere = format!("127.0.0.1:{}", unused_port());
    let unusable = |location: &str, advice: &str| {
        format!("the database {location} cannot be used as an inbox: {advice}")
    };
    let at_server =
        |database: &str, advice: &str| unusable(&format!("{database} at {address}"), advice);
    let invalid_url = "invalid URL of the inbox; write postgres://user:password@host:5432/database, and in the \
                  password %40 for @, %2F for /, %3F for ?, %23 for # and %25 for %";
    let cases = [
        (
            url.replace(&address, &nowhere),
            unusable(
                &format!("postgres at {nowhere}"),
                "the server cannot be reached; start it, or correct the host and port in the URL: Connection refused",
            ),
        ),
        (
            url.replace("postgres:of", "postgres:not-of"),
            at_server(
                "postgres",
                "authentication failed for user postgres; correct the user and password in the URL, or allow the \
                 connection in the server's pg_hba.conf: password authentication failed for user \"postgres\"",
            ),
        ),
        (
            server.url_of("shop"),
            at_server(
                "shop",
                "the server has no such database; create it with `create database \"shop\"`, or name another: \
                 database \"shop\" does not exist",
            ),
        ),
        (
            server.url_of("latin"),
            at_server(
                "latin",
                "its encoding is LATIN1, which cannot represent every character of an event; create another \
                 database with `create database … encoding 'UTF8' template template0`",
            ),
        ),
        (
            format!("{url}?sslmode=require"),
            at_server(
                "postgres",
                "cannot establish a trusted TLS connection; check `sslmode` and `sslrootcert` in the URL: server \
                 does not support TLS",
            ),
        ),
        (url.replace("postgres://", "mysql://"), invalid_url.into()),
        // Part of a password that is not encoded must not be taken as another part of the URL, and
        // shown.
        (url.replace("tests-", "/"), invalid_url.into()),
        (url.replace("tests-", "?"), invalid_url.into()),
        (url.replace("tests-", "#"), invalid_url.into()),
        (format!("postgres://shop:1/of-the@{address}/shop"), invalid_url.into()),
        (format!("postgres://shop:1?of-the@{address}/shop"), invalid_url.into()),
        (
            format!("{url}?passwd=7c1f"),
            "the inbox's URL has an unknown parameter `passwd`; did you mean `password`?".into(),
        ),
        (
            format!("{url}?sslmode=7c1f"),
            "the inbox's URL has an invalid `sslmode`; it must be disable, allow, prefer, require, \
             verify-ca or verify-full"
                .into(),
        ),
        (format!("{url};password=7c1f"), invalid_url.into()),
    ];
    for (url, expected) in cases {
        let error = PostgresStore::connect(&url).await.unwrap_err();
        let message = error_chain(&error);
        assert!(message.starts_with(&expected), "{message}");
        let all = format!("{message} {error:?}");
        assert!(!all.contains("of-the") && !all.contains("7c1f"), "{all}");
    }
    let ipv6 = url.replace("127.0.0.1", "[::1]");
    let error = error_chain(&PostgresStore::connect(&ipv6).await.unwrap_err());
    assert!(error.contains("at [::1]:") && !error.contains("lookup"), "{error}");
    for name in ["", "Inbox", "1st", "in box", "in\"box", &"x".repeat(64)] {
        let error = PostgresStore::options().schema(name).connect(&url).await.unwrap_err();
        assert!(error_chain(&error).contains("is not a valid schema name for an inbox"), "{name}");
    }
}

#[tokio::test]
async fn connect_to_silent_server_times_out() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let result = PostgresStore::connect(&format!("postgres://postgres@{address}/shop")).await;
    let error = error_chain(&result.unwrap_err());
    assert!(error.contains(&format!("the database shop at {address} cannot be used")), "{error}");
    assert!(error.contains("an inbox: no answer within 3s; correct the host and port"), "{error}");
}

/// An operator inspects an inbox and must not create one.
#[tokio::test]
async fn connect_without_create_makes_no_tables() {
    let Some(server) = postgres::shared() else { return };
    let database = unused_name();
    let admin = PgPool::connect_lazy(&server.url()).unwrap();
    let make = format!("create database {database}");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&admin).await.unwrap();
    let url = server.url_of(&database);
    let expected = format!(
        "the database {database} at {} cannot be used as an inbox: it contains no inbox; the webhook server creates \
         the tables, so check that both use the same URL",
        server.address()
    );
    assert_eq!(
        error_chain(
            &PostgresStore::options().create_if_missing(false).connect(&url).await.unwrap_err()
        ),
        expected
    );
    let client = PgPool::connect_lazy(&url).unwrap();
    sqlx::raw_sql("create schema stripe_inbox").execute(&client).await.unwrap();
    assert_eq!(
        error_chain(
            &PostgresStore::options().create_if_missing(false).connect(&url).await.unwrap_err()
        ),
        expected
    );
    let count = "select count(*) from pg_class where relnamespace = 'stripe_inbox'::regnamespace";
    let tables: i64 = sqlx::query(count).fetch_one(&client).await.unwrap().get(0);
    assert_eq!(tables, 0);
    PostgresStore::connect(&url).await.unwrap().store(&[paid("evt_1")]).await.unwrap();
    let store = PostgresStore::options().create_if_missing(false).connect(&url).await.unwrap();
    assert_eq!(store.deliveries("evt_1").await.unwrap().len(), 1);
}
