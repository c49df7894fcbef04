//! A shop: its database, its ledger, and what must be so in the end.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, OnceLock},
};

use router_core::testing::Payload;
use router_inbox::{DeliveryState, DeliveryState::*, StoredDelivery};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    database::Database,
    nats,
    postgres::{self, Server},
    process::Process,
    stripe::Stripe,
    until,
};

pub(crate) struct Shop {
    pub(crate) database: Database,
    pub(crate) stripe: Arc<Stripe>,
    folder: TempDir,
    /// What its processes have logged.
    log: Arc<Mutex<String>>,
}

/// Handlers that write in a `Tx`, where there is one.
const WITH_TX: [&str; 2] = ["shop.effect", "shop.held"];

impl Shop {
    pub(crate) async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let database = Database::in_sqlite(folder.path()).await;
        Self::of(folder, database)
    }

    /// None, where there is no PostgreSQL.
    pub(crate) async fn on_postgres() -> Option<Self> {
        Some(Self::on(postgres::shared()?).await)
    }

    /// In a server of its own.
    pub(crate) async fn on(server: &Server) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        Self::of(folder, Database::in_postgres(server).await)
    }

    /// None, where there is no NATS server.
    pub(crate) async fn on_jetstream() -> Option<Self> {
        static SHARED: OnceLock<Option<nats::Server>> = OnceLock::new();
        let server = SHARED.get_or_init(Self::jetstream).as_ref()?;
        Some(Self::at(&server.url()).await)
    }

    /// A server of its own, which takes what is large.
    pub(crate) fn jetstream() -> Option<nats::Server> {
        nats::Server::start_with("max_payload: 4MB", "")
    }

    /// In the NATS server, or the cluster, at this URL.
    pub(crate) async fn at(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        Self::of(folder, Database::in_jetstream(url).await)
    }

    fn of(folder: TempDir, database: Database) -> Self {
        Self { database, stripe: Arc::new(Stripe::new()), folder, log: Arc::default() }
    }

    /// Starts a process of it.
    pub(crate) fn start(&self, options: &[&str]) -> Process {
        self.start_at(&self.database.url, options)
    }

    /// Starts one that reaches the inbox by this URL.
    pub(crate) fn start_at(&self, inbox: &str, options: &[&str]) -> Process {
        let file = |name| self.folder.path().join(name);
        // Who writes more than it may is told so, and not killed.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_faulty-shop")]);
        command.arg("--inbox").arg(inbox).args(options);
        command.arg("--ledger").arg(file("ledger")).arg("--gate").arg(file("gate"));
        Process::start(command, self.log.clone())
    }

    /// Starts one that serves, and waits until it does. `None` if it dies before.
    pub(crate) async fn serve(&self, options: &[&str]) -> Option<Process> {
        self.listening(self.start(options)).await
    }

    /// The process, which serves, once it does. `None` if it dies before.
    pub(crate) async fn listening(&self, mut process: Process) -> Option<Process> {
        let address = process.address().await;
        self.stripe.at(address);
        address.map(|_| process)
    }

    /// What its inbox is called where that is a stream.
    pub(crate) fn stream(&self) -> &str {
        self.database.url.rsplit('/').next().expect("it has a beginning")
    }

    /// The server of the stream, or one of its cluster's: host and port.
    pub(crate) fn server(&self) -> &str {
        let (_, hosts) = self.database.url.split_once('@').expect("it has a password");
        hosts.split([',', '/']).next().expect("it has a beginning")
    }

    /// Lets `shop.held` go on.
    pub(crate) fn open_gate(&self) {
        fs::write(self.folder.path().join("gate"), "").expect("there is room");
    }

    /// From now on it waits again.
    pub(crate) fn shut_gate(&self) {
        // It need not have been open.
        drop(fs::remove_file(self.folder.path().join("gate")));
    }

    /// What its processes have logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("nobody panics with it").clone()
    }

    /// What handlers have done outside of the database: handler and event.
    pub(crate) fn ledger(&self) -> Vec<(String, String)> {
        let ledger = fs::read_to_string(self.folder.path().join("ledger")).unwrap_or_default();
        let line = |line: &str| {
            let (handler, event) = line.split_once(' ').expect("each line is written in one");
            (handler.to_owned(), event.to_owned())
        };
        ledger.lines().map(line).collect()
    }

    pub(crate) async fn deliveries(&self, event: &str) -> Vec<StoredDelivery> {
        self.database.store.deliveries(event).await.expect("it can be read")
    }

    /// Of an event with one handler: how far it is, and after how many attempts.
    pub(crate) async fn state(&self, event: &Payload) -> (DeliveryState, u32) {
        let kept = self.deliveries(event.id()).await;
        assert_eq!(kept.len(), 1, "{kept:?}");
        (kept[0].state, kept[0].attempts)
    }

    /// What becomes of an event of a type in the end, with each of its handlers.
    pub(crate) fn ends(&self, event_type: &str) -> &'static [(&'static str, DeliveryState)] {
        match event_type {
            "invoice.paid" if self.database.has_tx() => {
                &[("shop.effect", Done), ("shop.ledger", Done)]
            }
            "invoice.paid" => &[("shop.ledger", Done)],
            "invoice.updated" => &[("shop.held", Done)],
            "charge.failed" => &[("poison.panics", Dead)],
            "charge.expired" => &[("poison.aborts", Dead)],
            "charge.pending" => &[("poison.hangs", Dead)],
            "charge.updated" => &[("poison.blocks", Dead)],
            "customer.updated" => &[("poison.undecodable", Dead)],
            other => panic!("no handler is for {other}"),
        }
    }

    /// Waits until nothing waits or runs.
    pub(crate) async fn all_ended(&self) {
        until("the end of all deliveries", async || {
            self.database.store.backlog().await.is_ok_and(|backlog| backlog.is_empty())
        })
        .await;
    }

    /// Once nothing waits: no acknowledged event is lost, each handler has done what it does, no more often than it
    /// was tried, and only poison is dead.
    pub(crate) async fn check(&self) {
        let (mut in_tx, mut elsewhere) = (BTreeMap::new(), BTreeMap::new());
        for (event, event_type) in self.stripe.acknowledged() {
            let kept = self.deliveries(&event).await;
            let ended: Vec<_> = kept.iter().map(|one| (&*one.handler, one.state)).collect();
            let ends = self.ends(&event_type);
            assert_eq!(ended, ends, "{event}, {event_type}: {kept:?}");
            for StoredDelivery { handler, attempts, .. } in kept {
                let effect = (handler.to_string(), event.clone());
                if self.database.has_tx() && WITH_TX.contains(&&*handler) {
                    in_tx.insert(effect, 1);
                } else if handler.starts_with("shop.") {
                    elsewhere.insert(effect, attempts);
                }
            }
        }
        let effects = counted(self.database.effects().await);
        assert_eq!(effects, in_tx, "what is done in a `Tx` is there once");
        let ledger = counted(self.ledger());
        assert!(ledger.keys().eq(elsewhere.keys()), "{ledger:?}, and not {elsewhere:?}");
        for (effect, times) in ledger {
            let attempts = elsewhere[&effect];
            assert!(times <= attempts, "{effect:?} was done {times} times, tried {attempts} times");
        }
    }
}

fn counted(effects: Vec<(String, String)>) -> BTreeMap<(String, String), u32> {
    let mut counted = BTreeMap::new();
    for effect in effects {
        *counted.entry(effect).or_insert(0) += 1;
    }
    counted
}

impl Drop for Shop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(20)..];
            println!("the last that its processes have logged:\n{}", last.join("\n"));
        }
    }
}
