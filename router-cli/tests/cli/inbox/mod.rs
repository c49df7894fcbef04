//! `inbox`, on a file that is filled as a server would fill it, on a database, and on a NATS server.

mod change;
mod jetstream;
mod live;
mod look;
mod postgres;
mod watch;

use std::time::Duration;

use router_core::{
    Event,
    clock::{Clock as _, SystemClock},
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    Claim, ClaimRequest, DeliveryOutcome, NewDelivery, NewEvent, SqliteStore, Store as _,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::program::{Ran, run};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An inbox, and a server's hand in it.
struct Desk {
    runtime: Runtime,
    store: SqliteStore,
    clock: ManualClock,
    folder: TempDir,
}

impl Desk {
    /// With nothing in it, so long ago.
    fn empty(ago: Duration) -> Self {
        let runtime = Runtime::new().expect("it starts");
        let folder = tempfile::tempdir().expect("there is room");
        let clock = ManualClock::at(SystemClock.wall() - ago);
        let url = format!("sqlite:{}/inbox.db", folder.path().display());
        let store = runtime.block_on(SqliteStore::open(&url)).expect("it can be made");
        Self { runtime, store: store.clock(clock.clone()), clock, folder }
    }

    /// With some of everything.
    fn busy() -> Self {
        let desk = Self::empty(MINUTE * 180);
        desk.store("evt_done", "invoice.paid", "in_1", &["audit", "orders.fulfil"]);
        desk.end("audit", DeliveryOutcome::Done);
        desk.end("orders.fulfil", DeliveryOutcome::Ignored);
        desk.clock.advance(MINUTE * 60);
        desk.store("evt_dead", "charge.failed", "ch_1", &["audit", "orders.fulfil"]);
        desk.end("audit", DeliveryOutcome::Done);
        let wait =
            DeliveryOutcome::Retry { wait: Duration::ZERO, error: "the warehouse is down".into() };
        desk.end("orders.fulfil", wait);
        desk.end(
            "orders.fulfil",
            DeliveryOutcome::Dead { error: "no such order: 6735\nsee the runbook".into() },
        );
        desk.clock.advance(MINUTE * 60);
        desk.store("evt_none", "customer.created", "cus_9", &[]);
        desk.store("evt_waits", "invoice.paid", "in_2", &["orders.fulfil"]);
        let wait =
            DeliveryOutcome::Retry { wait: MINUTE * 75, error: "the warehouse is down".into() };
        desk.end("orders.fulfil", wait);
        desk.clock.advance(MINUTE * 57);
        desk.store_ordered("evt_first", "customer.updated", "cus_1", "ledger");
        desk.store_ordered("evt_second", "customer.updated", "cus_1", "ledger");
        desk.store("evt_runs", "invoice.paid", "in_3", &["mail"]);
        desk.claim("mail", MINUTE * 33);
        desk
    }

    fn url(&self) -> String {
        format!("sqlite:{}/inbox.db", self.folder.path().display())
    }

    /// Runs `event-router inbox` on it.
    fn run(&self, arguments: &[&str]) -> Ran {
        run(&[&["inbox"], arguments, &["--inbox", &self.url()]].concat())
    }

    fn store(&self, id: &str, event_type: &str, object: &str, handlers: &[&str]) {
        let delivery = |handler: &&str| NewDelivery { handler: (*handler).into(), ordered: false };
        self.store_new(id, event_type, object, handlers.iter().map(delivery).collect());
    }

    fn store_ordered(&self, id: &str, event_type: &str, object: &str, handler: &str) {
        let delivery = NewDelivery { handler: handler.into(), ordered: true };
        self.store_new(id, event_type, object, vec![delivery]);
    }

    fn store_new(&self, id: &str, event_type: &str, object: &str, deliveries: Vec<NewDelivery>) {
        let created = self.clock.wall();
        let event = SyntheticEvent::new(event_type).id(id).set("id", object).created(created);
        let new = [NewEvent { event: made(event), deliveries }];
        self.runtime.block_on(self.store.store(&new)).expect("it is there");
    }

    /// So many, at once, for one handler.
    fn store_many(&self, number: usize, handler: &str) {
        let event = |number| made(SyntheticEvent::new("invoice.paid").id(format!("evt_{number}")));
        let deliveries = vec![NewDelivery { handler: handler.into(), ordered: false }];
        let new = |number| NewEvent { event: event(number), deliveries: deliveries.clone() };
        let many: Vec<_> = (0..number).map(new).collect();
        self.runtime.block_on(self.store.store(&many)).expect("it is there");
    }

    /// What is due for the handler.
    fn claim(&self, handler: &str, lease: Duration) -> Claim {
        let wanted = ClaimRequest { handlers: vec![(handler.into(), 1)], limit: 1, lease };
        let claimed = self.runtime.block_on(self.store.claim(&wanted));
        claimed.expect("it is there").pop().expect("something is due")
    }

    /// Has what is due for the handler end so.
    fn end(&self, handler: &str, end: DeliveryOutcome) {
        let lease = self.claim(handler, MINUTE).lease;
        self.runtime.block_on(self.store.complete(&[(lease, end)])).expect("it is there");
    }
}

fn made(event: SyntheticEvent) -> Event {
    event.build().expect("there is such an event").event().clone()
}

/// A text without the times in it.
fn steady(text: &str) -> String {
    let is_time = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        word.len() == 24 && word.ends_with('Z') && word.as_bytes()[10] == b'T'
    };
    let mut steady = text.to_owned();
    for word in text.split(|c: char| c.is_whitespace() || c == '"').filter(|word| is_time(word)) {
        steady = steady.replace(word, "TIME");
    }
    steady
}
