//! Requests for several tenants over a socket, with rolled secrets and a database that fails.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use router_core::{
    Endpoint, Event, Router, SigningSecret,
    clock::{Clock as _, SystemClock},
    server::Server,
    testing::{ManualClock, SyntheticEvent},
};
use sqlx::SqlitePool;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{CACHE_TIME, PLUGIN, Tenants};

/// A running server, with its database and its clock.
struct Shop {
    address: SocketAddr,
    database: SqlitePool,
    clock: ManualClock,
    /// The endpoints and ids of the handled events.
    handled: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl Shop {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder is writable");
        let url = format!("sqlite:{}/tenants.db?mode=rwc", folder.path().display());
        let database = SqlitePool::connect(&url).await.expect("file is writable");
        let clock = ManualClock::at(SystemClock.wall());
        let tenants =
            Tenants::new(database.clone(), clock.clone()).await.expect("file is writable");
        let handled = Arc::<Mutex<Vec<String>>>::default();
        let record = handled.clone();
        let handler = move |event: Event| {
            let text = format!("{}/{}", event.endpoint(), event.id());
            record.lock().expect("lock is not poisoned").push(text);
            async {}
        };
        let builder = Router::builder().plugins([PLUGIN]).handler("test", ["invoice.*"], handler);
        let router = builder.build().expect("router is valid");
        let endpoint = Endpoint::with_provider(tenants, router).clock(clock.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("listener is bound");
        tokio::spawn(Server::new(endpoint).serve(listener, pending()));
        Self { address, database, clock, handled, _folder: folder }
    }

    async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.database).await.expect("statement is valid");
    }

    fn expire_cache(&self) {
        self.clock.advance(CACHE_TIME);
    }

    /// Signs an event with this secret, sends it to the tenant's path, and returns the status.
    async fn send(&self, tenant: &str, secret: &str, id: &str) -> u16 {
        let event = SyntheticEvent::new("invoice.paid").id(id).build().expect("type is known");
        let secret = SigningSecret::new(secret).expect("secret is valid");
        let signature = event.sign_at(&secret, self.clock.wall());
        let head = format!(
            "POST /webhook/{tenant} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             stripe-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
            event.body().len()
        );
        let mut stream = TcpStream::connect(self.address).await.expect("server listens");
        let request = [head.as_bytes(), event.body()].concat();
        stream.write_all(&request).await.expect("server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("server answers");
        let status = answer.split(' ').nth(1).expect("answer has a status");
        status.parse().expect("status is a number")
    }

    fn handled(&self) -> Vec<String> {
        self.handled.lock().expect("lock is not poisoned").clone()
    }
}

#[tokio::test]
async fn secret_is_valid_on_the_path_of_its_tenant_only() {
    let shop = Shop::start().await;
    shop.execute("insert into secrets values ('a', 'whsec_a'), ('b', 'whsec_b')").await;
    assert_eq!(shop.send("a", "whsec_a", "evt_1").await, 200);
    assert_eq!(shop.send("b", "whsec_a", "evt_1").await, 400);
    assert_eq!(shop.send("a", "whsec_b", "evt_2").await, 400);
    for unknown in ["c", "A", "", "a/", "%61"] {
        assert_eq!(shop.send(unknown, "whsec_a", "evt_2").await, 404, "{unknown}");
    }
    // Of two tenants, events with one id are two events.
    assert_eq!(shop.send("b", "whsec_b", "evt_1").await, 200);
    assert_eq!(shop.send("a", "whsec_a", "evt_1").await, 200);
    assert_eq!(shop.handled(), ["a/evt_1", "b/evt_1"]);
}

#[tokio::test]
async fn both_secrets_are_valid_while_one_is_rolled() {
    let shop = Shop::start().await;
    shop.execute("insert into secrets values ('a', 'whsec_old')").await;
    assert_eq!(shop.send("a", "whsec_old", "evt_1").await, 200);
    shop.execute("insert into secrets values ('a', 'whsec_new')").await;
    assert_eq!(shop.send("a", "whsec_new", "evt_2").await, 400, "the old secret is cached");
    shop.expire_cache();
    assert_eq!(shop.send("a", "whsec_new", "evt_2").await, 200);
    assert_eq!(shop.send("a", "whsec_old", "evt_3").await, 200);
    // Redelivered while the secret is rolled, an event is still the same.
    assert_eq!(shop.send("a", "whsec_new", "evt_1").await, 200);
    shop.execute("delete from secrets where secret = 'whsec_old'").await;
    assert_eq!(shop.send("a", "whsec_old", "evt_4").await, 200, "both secrets are cached");
    shop.expire_cache();
    assert_eq!(shop.send("a", "whsec_old", "evt_5").await, 400);
    assert_eq!(shop.send("a", "whsec_new", "evt_5").await, 200);
    shop.execute("delete from secrets").await;
    shop.expire_cache();
    assert_eq!(shop.send("a", "whsec_new", "evt_6").await, 404);
    assert_eq!(shop.handled(), ["a/evt_1", "a/evt_2", "a/evt_3", "a/evt_4", "a/evt_5"]);
}

#[tokio::test]
async fn event_is_refused_with_503_while_the_database_fails() {
    let shop = Shop::start().await;
    shop.execute("insert into secrets values ('a', 'whsec_a'), ('b', 'b')").await;
    assert_eq!(shop.send("a", "whsec_a", "evt_1").await, 200);
    shop.execute("alter table secrets rename to unavailable").await;
    assert_eq!(shop.send("a", "whsec_a", "evt_2").await, 200, "the secret is cached");
    shop.expire_cache();
    for tenant in ["a", "c"] {
        assert_eq!(shop.send(tenant, "whsec_a", "evt_3").await, 503, "{tenant}");
    }
    assert_eq!(shop.handled(), ["a/evt_1", "a/evt_2"]);
    shop.execute("alter table unavailable rename to secrets").await;
    // Stripe sends the event again.
    assert_eq!(shop.send("a", "whsec_a", "evt_3").await, 200);
    assert_eq!(shop.handled(), ["a/evt_1", "a/evt_2", "a/evt_3"]);
    // A text that cannot be a secret.
    shop.execute("insert into secrets values ('d', '')").await;
    assert_eq!(shop.send("d", "whsec_a", "evt_4").await, 503);
}
