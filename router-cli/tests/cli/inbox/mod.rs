//! `inbox` on SQLite, PostgreSQL and NATS JetStream stores that the tests fill as a server does.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod bulk;
mod changes;
mod concurrent;
mod engine;
mod erase;
mod erase_live;
mod history;
mod jetstream;
mod pause;
mod postgres;
mod query;
mod redelivery;
mod sqlite;
mod texts;
mod watch;

use std::time::Duration;

use router_core::{
    Event,
    clock::{Clock as _, SystemClock},
    delivery::DeliveryOrder,
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    Store as _,
    store::{
        Claim, ClaimRequest, DeliveryOutcome, HandlerSlots, NewDelivery, NewEvent, WorkerInfo,
    },
};
use tokio::runtime::Runtime;

use self::engine::Engine;
use crate::program::{CliOutput, run};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Every command. All but `watch` exit by themselves.
const COMMANDS: [&[&str]; 10] = [
    &["status"],
    &["list"],
    &["show", "evt_1"],
    &["retry", "evt_1"],
    &["retry", "--state", "dead", "--yes"],
    &["replay", "evt_1"],
    &["discard", "evt_1", "--yes"],
    &["purge", "--older-than", "30d", "--yes"],
    &["erase", "--object", "cus_1", "--yes"],
    &["watch"],
];

/// An inbox, and direct access to its store in place of a server.
struct TestInbox<E: Engine> {
    runtime: Runtime,
    store: E::Store,
    clock: ManualClock,
    engine: E,
}

impl<E: Engine> TestInbox<E> {
    /// Creates an empty inbox whose clock is behind by this time.
    fn empty(engine: E, ago: Duration) -> Self {
        let runtime = Runtime::new().expect("the runtime starts");
        let clock = ManualClock::at(SystemClock.wall() - ago);
        let store = runtime.block_on(engine.create(&clock));
        Self { runtime, store, clock, engine }
    }

    /// Creates an inbox with deliveries in all states but discarded, an unhandled event and two
    /// workers.
    fn busy(engine: E) -> Self {
        let inbox = Self::empty(engine, MINUTE * 180);
        inbox.store("evt_done", "invoice.paid", "in_1", &["audit", "orders.fulfil"]);
        inbox.complete("audit", DeliveryOutcome::Done);
        inbox.complete("orders.fulfil", DeliveryOutcome::Ignored);
        inbox.advance(MINUTE * 60);
        inbox.store("evt_dead", "charge.failed", "ch_1", &["audit", "orders.fulfil"]);
        inbox.complete("audit", DeliveryOutcome::Done);
        let wait =
            DeliveryOutcome::Retry { wait: Duration::ZERO, error: "the warehouse is down".into() };
        inbox.complete("orders.fulfil", wait);
        inbox.complete(
            "orders.fulfil",
            DeliveryOutcome::Dead { error: "no such order: 6735\nsee the runbook".into() },
        );
        inbox.advance(MINUTE * 60);
        inbox.store("evt_none", "customer.created", "cus_9", &[]);
        inbox.store("evt_waits", "invoice.paid", "in_2", &["orders.fulfil"]);
        let wait =
            DeliveryOutcome::Retry { wait: MINUTE * 75, error: "the warehouse is down".into() };
        inbox.complete("orders.fulfil", wait);
        inbox.advance(MINUTE * 57);
        inbox.store_ordered("evt_first", "customer.updated", "cus_1", "ledger");
        inbox.store_ordered("evt_second", "customer.updated", "cus_1", "ledger");
        inbox.store("evt_runs", "invoice.paid", "in_3", &["mail"]);
        inbox.claim("mail", MINUTE * 33);
        for worker in ["shop-1", "shop-2"] {
            inbox.report_worker(worker, &["audit", "ledger", "mail", "orders.fulfil"]);
        }
        inbox
    }

    /// Advances the clock of the store, but not that of the program.
    fn advance(&self, time: Duration) {
        self.clock.advance(time);
        self.runtime.block_on(self.engine.set_time(self.clock.wall()));
    }

    /// Runs `event-router inbox` on this inbox.
    fn run(&self, arguments: &[&str]) -> CliOutput {
        run_on(&self.engine.url(), arguments)
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

    /// Claims the handler's next due delivery. A JetStream store sees the changes of the program
    /// after a while.
    fn claim(&self, handler: &str, lease: Duration) -> Claim {
        self.claim_by("shop-1", handler, lease)
    }

    /// Claims the handler's next due delivery for a worker.
    fn claim_by(&self, worker: &str, handler: &str, lease: Duration) -> Claim {
        let wanted = ClaimRequest::new(vec![HandlerSlots::new(handler, 1)], 1, lease);
        let wanted = wanted.worker(worker);
        // The limit only guards against hanging.
        for _ in 0..500 {
            let claimed = self.runtime.block_on(self.store.claim(&wanted));
            if let Some(claim) = claimed.expect("the store works").pop() {
                return claim;
            }
            self.runtime.block_on(async { SystemClock.sleep(Duration::from_millis(20)).await });
        }
        panic!("no delivery of {handler} is due")
    }

    /// Claims the handler's next due delivery and completes it with an outcome.
    fn complete(&self, handler: &str, outcome: DeliveryOutcome) {
        let lease = self.claim(handler, MINUTE).lease;
        self.runtime.block_on(self.store.complete(&[(lease, outcome)])).expect("the store works");
    }
}

/// Runs `event-router inbox` with this URL, and asserts that its password is not printed.
fn run_on(url: &str, arguments: &[&str]) -> CliOutput {
    let output = run(&[&["inbox"], arguments, &["--inbox", url]].concat());
    for password in [router_test_servers::postgres::PASSWORD, router_test_servers::nats::PASSWORD] {
        assert!(!format!("{output:?}").contains(password), "{output:?}");
    }
    output
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

/// Replaces an age of seconds by `just now`: a command may take a second on a slow machine.
fn in_an_instant(text: &str) -> String {
    (1..60).fold(text.to_owned(), |text, n| text.replace(&format!(" {n}s ago"), " just now"))
}
