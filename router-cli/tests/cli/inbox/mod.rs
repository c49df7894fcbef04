//! `inbox` on SQLite, PostgreSQL and NATS JetStream stores that the tests fill as a server does.

mod changes;
mod concurrent;
mod jetstream;
mod postgres;
mod query;
mod redelivery;
mod watch;

use std::time::Duration;

use router_core::{
    Event,
    clock::{Clock as _, SystemClock},
    delivery::DeliveryOrder,
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    SqliteStore, Store as _,
    store::{
        Claim, ClaimRequest, DeliveryOutcome, HandlerSlots, NewDelivery, NewEvent, WorkerInfo,
    },
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::program::{CliOutput, run};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A SQLite inbox, and direct access to its store in place of a server.
struct TestInbox {
    runtime: Runtime,
    store: SqliteStore,
    clock: ManualClock,
    folder: TempDir,
}

impl TestInbox {
    /// Creates an empty inbox whose clock is behind by this time.
    fn empty(ago: Duration) -> Self {
        let runtime = Runtime::new().expect("the runtime starts");
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let clock = ManualClock::at(SystemClock.wall() - ago);
        let url = format!("sqlite:{}/inbox.db", folder.path().display());
        let store = SqliteStore::options().clock(clock.clone());
        let store = runtime.block_on(store.open(&url)).expect("the inbox can be created");
        Self { runtime, store, clock, folder }
    }

    /// Creates an inbox with deliveries in all states but discarded, an unhandled event and two
    /// workers.
    fn busy() -> Self {
        let inbox = Self::empty(MINUTE * 180);
        inbox.store("evt_done", "invoice.paid", "in_1", &["audit", "orders.fulfil"]);
        inbox.complete("audit", DeliveryOutcome::Done);
        inbox.complete("orders.fulfil", DeliveryOutcome::Ignored);
        inbox.clock.advance(MINUTE * 60);
        inbox.store("evt_dead", "charge.failed", "ch_1", &["audit", "orders.fulfil"]);
        inbox.complete("audit", DeliveryOutcome::Done);
        let wait =
            DeliveryOutcome::Retry { wait: Duration::ZERO, error: "the warehouse is down".into() };
        inbox.complete("orders.fulfil", wait);
        inbox.complete(
            "orders.fulfil",
            DeliveryOutcome::Dead { error: "no such order: 6735\nsee the runbook".into() },
        );
        inbox.clock.advance(MINUTE * 60);
        inbox.store("evt_none", "customer.created", "cus_9", &[]);
        inbox.store("evt_waits", "invoice.paid", "in_2", &["orders.fulfil"]);
        let wait =
            DeliveryOutcome::Retry { wait: MINUTE * 75, error: "the warehouse is down".into() };
        inbox.complete("orders.fulfil", wait);
        inbox.clock.advance(MINUTE * 57);
        inbox.store_ordered("evt_first", "customer.updated", "cus_1", "ledger");
        inbox.store_ordered("evt_second", "customer.updated", "cus_1", "ledger");
        inbox.store("evt_runs", "invoice.paid", "in_3", &["mail"]);
        inbox.claim("mail", MINUTE * 33);
        for worker in ["shop-1", "shop-2"] {
            inbox.report_worker(worker, &["audit", "ledger", "mail", "orders.fulfil"]);
        }
        inbox
    }

    fn url(&self) -> String {
        format!("sqlite:{}/inbox.db", self.folder.path().display())
    }

    /// Runs `event-router inbox` on this inbox.
    fn run(&self, arguments: &[&str]) -> CliOutput {
        run(&[&["inbox"], arguments, &["--inbox", &self.url()]].concat())
    }

    fn store(&self, id: &str, event_type: &str, object: &str, handlers: &[&str]) {
        let deliveries = handlers.iter().map(|handler| new_delivery(handler, None)).collect();
        self.store_new(id, event_type, object, deliveries);
    }

    fn store_ordered(&self, id: &str, event_type: &str, object: &str, handler: &str) {
        let delivery = new_delivery(handler, Some(DeliveryOrder::OldestFirst));
        self.store_new(id, event_type, object, vec![delivery]);
    }

    fn store_new(&self, id: &str, event_type: &str, object: &str, deliveries: Vec<NewDelivery>) {
        let created = self.clock.wall();
        let event = SyntheticEvent::new(event_type).id(id).set("id", object).created(created);
        let new = [NewEvent::new(build_event(event), deliveries)];
        self.runtime.block_on(self.store.store(&new)).expect("the store works");
    }

    /// Stores events for one handler in one batch.
    fn store_many(&self, number: usize, handler: &str) {
        let event =
            |number| build_event(SyntheticEvent::new("invoice.paid").id(format!("evt_{number}")));
        let deliveries = vec![new_delivery(handler, None)];
        let new = |number| NewEvent::new(event(number), deliveries.clone());
        let many: Vec<_> = (0..number).map(new).collect();
        self.runtime.block_on(self.store.store(&many)).expect("the store works");
    }

    /// Records that a worker is running.
    fn report_worker(&self, name: &str, handlers: &[&str]) {
        let worker = WorkerInfo::new(name, handlers.iter().map(|handler| (*handler).into()));
        let reported = self.runtime.block_on(self.store.report_worker(&worker, DAY));
        reported.expect("the store works");
    }

    /// Claims the handler's next due delivery.
    fn claim(&self, handler: &str, lease: Duration) -> Claim {
        let wanted = ClaimRequest::new(vec![HandlerSlots::new(handler, 1)], 1, lease);
        let claimed = self.runtime.block_on(self.store.claim(&wanted));
        claimed.expect("the store works").pop().expect("a delivery is due")
    }

    /// Claims the handler's next due delivery and completes it with an outcome.
    fn complete(&self, handler: &str, outcome: DeliveryOutcome) {
        let lease = self.claim(handler, MINUTE).lease;
        self.runtime.block_on(self.store.complete(&[(lease, outcome)])).expect("the store works");
    }
}

fn new_delivery(handler: &str, order: Option<DeliveryOrder>) -> NewDelivery {
    NewDelivery::new(handler).order(order)
}

fn build_event(event: SyntheticEvent) -> Event {
    event.build().expect("the event is valid").event().clone()
}

/// Replaces all RFC 3339 times in a text.
fn redact(text: &str) -> String {
    let is_time = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        word.len() == 24 && word.ends_with('Z') && word.as_bytes()[10] == b'T'
    };
    let mut redacted = text.to_owned();
    for word in text.split(|c: char| c.is_whitespace() || c == '"').filter(|word| is_time(word)) {
        redacted = redacted.replace(word, "TIME");
    }
    redacted
}
