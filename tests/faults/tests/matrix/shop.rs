//! A shop: its inbox, its ledger, its processes, and the checks after a fault.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, OnceLock},
};

use router_core::testing::Payload;
use router_inbox::store::{
    DeliveryState::{self, *},
    StoredDelivery,
};
use router_test_servers::{
    nats,
    postgres::{self, Server},
};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{database::Database, process::Process, stripe::Stripe, wait_until};

pub(crate) struct Shop {
    pub(crate) database: Database,
    pub(crate) stripe: Arc<Stripe>,
    folder: TempDir,
    /// The log of all its processes.
    log: Arc<Mutex<String>>,
}

/// The handlers that write in a `Tx`, if the store provides one.
const WITH_TX: [&str; 3] = ["shop.effect", "shop.held", "shop.checkout"];

impl Shop {
    pub(crate) async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder is writable");
        let database = Database::in_sqlite(folder.path()).await;
        Self::new(folder, database)
    }

    /// Returns `None` if PostgreSQL is not installed.
    pub(crate) async fn on_postgres() -> Option<Self> {
        Some(Self::on_postgres_server(postgres::shared()?).await)
    }

    /// Creates a shop on this PostgreSQL server.
    pub(crate) async fn on_postgres_server(server: &Server) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder is writable");
        Self::new(folder, Database::in_postgres(server).await)
    }

    /// Returns `None` if no NATS server is installed.
    pub(crate) async fn on_jetstream() -> Option<Self> {
        static SHARED: OnceLock<Option<nats::Server>> = OnceLock::new();
        let server = SHARED.get_or_init(Self::start_nats).as_ref()?;
        Some(Self::on_nats(&server.url()).await)
    }

    /// Starts a NATS server that accepts the large events of these tests. Returns `None` if none is
    /// installed.
    pub(crate) fn start_nats() -> Option<nats::Server> {
        nats::Server::start_with("max_payload: 4MB", "")
    }

    /// Creates a shop on the NATS server or cluster at this URL.
    pub(crate) async fn on_nats(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder is writable");
        Self::new(folder, Database::in_jetstream(url).await)
    }

    fn new(folder: TempDir, database: Database) -> Self {
        Self { database, stripe: Arc::new(Stripe::new()), folder, log: Arc::default() }
    }

    /// Starts a process of the shop.
    pub(crate) fn start(&self, options: &[&str]) -> Process {
        self.start_at(&self.database.url, options)
    }

    /// Starts a process that connects to the inbox by this URL.
    pub(crate) fn start_at(&self, inbox: &str, options: &[&str]) -> Process {
        let file = |name| self.folder.path().join(name);
        // Without SIGXFSZ, a write above the file size limit fails instead of killing the process.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_faulty-shop")]);
        command.arg("--inbox").arg(inbox).args(options);
        command.arg("--ledger").arg(file("ledger")).arg("--gate").arg(file("gate"));
        self.start_command(command)
    }

    /// Starts a program that is not `faulty-shop`.
    pub(crate) fn start_command(&self, command: Command) -> Process {
        Process::start(command, self.log.clone())
    }

    /// Starts a process, and waits until it serves. Returns `None` if it dies before.
    pub(crate) async fn serve(&self, options: &[&str]) -> Option<Process> {
        self.wait_until_serving(self.start(options)).await
    }

    /// Waits until the process serves, and sends events to it from now on. Returns `None` if it
    /// dies before.
    pub(crate) async fn wait_until_serving(&self, mut process: Process) -> Option<Process> {
        let address = process.address().await;
        self.stripe.set_endpoint(address);
        address.map(|_| process)
    }

    /// Returns the name of the inbox's stream.
    pub(crate) fn stream_name(&self) -> &str {
        self.database.url.rsplit('/').next().expect("split yields at least one part")
    }

    /// Returns host and port of the NATS server, or of one server of the cluster.
    pub(crate) fn nats_address(&self) -> &str {
        let (_, hosts) = self.database.url.split_once('@').expect("URL has a password");
        hosts.split([',', '/']).next().expect("split yields at least one part")
    }

    /// Lets the handler `shop.held` return.
    pub(crate) fn open_gate(&self) {
        fs::write(self.folder.path().join("gate"), "").expect("temporary folder is writable");
    }

    /// Makes the handler `shop.held` wait from now on.
    pub(crate) fn close_gate(&self) {
        // Fails if the gate is closed already.
        drop(fs::remove_file(self.folder.path().join("gate")));
    }

    /// Returns the log of all its processes.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("lock is not poisoned").clone()
    }

    /// Returns the handler and event of each line that handlers have appended to the ledger.
    pub(crate) fn ledger(&self) -> Vec<(String, String)> {
        let ledger = fs::read_to_string(self.folder.path().join("ledger")).unwrap_or_default();
        let line = |line: &str| {
            let (handler, event) = line.split_once(' ').expect("handlers write whole lines");
            (handler.to_owned(), event.to_owned())
        };
        ledger.lines().map(line).collect()
    }

    /// Returns whether `shop.checkout` has entered the order of this event.
    pub(crate) async fn has_order(&self, event: &Payload) -> bool {
        let order = ("shop.checkout".to_owned(), event.id().to_owned());
        self.database.effects().await.contains(&order) || self.ledger().contains(&order)
    }

    pub(crate) async fn deliveries(&self, event_id: &str) -> Vec<StoredDelivery> {
        self.database.store.deliveries(event_id).await.expect("store is readable")
    }

    /// Returns the state and attempts of an event's delivery. The event must have one handler.
    pub(crate) async fn state(&self, event: &Payload) -> (DeliveryState, u32) {
        let deliveries = self.deliveries(event.id()).await;
        assert_eq!(deliveries.len(), 1, "{deliveries:?}");
        (deliveries[0].state, deliveries[0].attempts)
    }

    /// Returns the handlers of an event type, and the state in which their deliveries must end.
    pub(crate) fn expected_states(
        &self,
        event_type: &str,
    ) -> &'static [(&'static str, DeliveryState)] {
        match event_type {
            "invoice.paid" if self.database.has_tx() => {
                &[("shop.effect", Done), ("shop.ledger", Done)]
            }
            "invoice.paid" => &[("shop.ledger", Done)],
            "invoice.updated" => &[("shop.held", Done)],
            "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
                &[("shop.checkout", Done)]
            }
            "charge.failed" => &[("poison.panics", Dead)],
            "charge.expired" => &[("poison.aborts", Dead)],
            "charge.pending" => &[("poison.hangs", Dead)],
            "charge.updated" => &[("poison.blocks", Dead)],
            "customer.updated" => &[("poison.undecodable", Dead)],
            other => panic!("no handler for {other}"),
        }
    }

    /// Waits until no delivery is waiting or running.
    pub(crate) async fn wait_until_idle(&self) {
        wait_until("completion of all deliveries", async || {
            self.database.store.backlog().await.is_ok_and(|backlog| backlog.is_empty())
        })
        .await;
    }

    /// Checks the guarantees when no delivery is open: no acknowledged event is lost, each
    /// handler's effects have happened, at most once per attempt, and only poisoned deliveries are
    /// dead.
    pub(crate) async fn check_guarantees(&self) {
        let (mut in_tx, mut in_ledger) = (BTreeMap::new(), BTreeMap::new());
        for (event, event_type) in self.stripe.acknowledged() {
            let deliveries = self.deliveries(&event).await;
            let states: Vec<_> =
                deliveries.iter().map(|delivery| (&*delivery.handler, delivery.state)).collect();
            let expected = self.expected_states(&event_type);
            assert_eq!(states, expected, "{event}, {event_type}: {deliveries:?}");
            for StoredDelivery { handler, attempts, .. } in deliveries {
                let effect = (handler.to_string(), event.clone());
                if self.database.has_tx() && WITH_TX.contains(&&*handler) {
                    in_tx.insert(effect, 1);
                } else if handler.starts_with("shop.") {
                    in_ledger.insert(effect, attempts);
                }
            }
        }
        let effects = count(self.database.effects().await);
        assert_eq!(effects, in_tx, "effects in a `Tx` happen exactly once");
        let ledger = count(self.ledger());
        assert!(ledger.keys().eq(in_ledger.keys()), "{ledger:?}, expected {in_ledger:?}");
        for (effect, times) in ledger {
            let attempts = in_ledger[&effect];
            assert!(times <= attempts, "{effect:?} happened {times} times in {attempts} attempts");
        }
    }
}

fn count(effects: Vec<(String, String)>) -> BTreeMap<(String, String), u32> {
    let mut counts = BTreeMap::new();
    for effect in effects {
        *counts.entry(effect).or_insert(0) += 1;
    }
    counts
}

impl Drop for Shop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(20)..];
            println!("last lines of its processes' log:\n{}", last.join("\n"));
        }
    }
}
