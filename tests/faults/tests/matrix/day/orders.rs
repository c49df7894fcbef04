//! Orders, whose events `event-router scenario` generates.

use std::{path::Path, time::UNIX_EPOCH};

use router_core::{Event, testing::Payload};
use serde_json::Value;
use tokio::process::Command;

/// The scenarios of `event-router`.
const SCENARIOS: [&str; 6] = [
    "checkout",
    "delayed-payment",
    "delayed-payment-failed",
    "dispute",
    "refund",
    "subscription-lifecycle",
];

/// The difference between the seeds of two scenarios. It is more than the runs of one take.
const SCENARIO_STRIDE: u64 = 1_000_000_000;

/// The address of every customer in Stripe's sample objects.
const SAMPLE_ADDRESS: &str = "jenny.rosen@example.com";

/// One run of a scenario, by a customer with an address of its own.
pub(super) struct Order {
    pub(super) scenario: &'static str,
    pub(super) customer_email: String,
    /// In the order in which the changes have happened.
    pub(super) events: Vec<Payload>,
}

/// Places at least this number of orders, as many of each scenario.
pub(super) async fn place(number: usize, rng: &mut fastrand::Rng) -> Vec<Order> {
    let repeat = number.div_ceil(SCENARIOS.len());
    let first_seed = rng.u64(..SCENARIO_STRIDE);
    let runs: Vec<_> = SCENARIOS
        .into_iter()
        .zip(0..)
        .map(|(scenario, index)| {
            tokio::spawn(generate(scenario, repeat, first_seed + index * SCENARIO_STRIDE))
        })
        .collect();
    let mut orders = Vec::new();
    for (scenario, run) in SCENARIOS.into_iter().zip(runs) {
        let lines = run.await.expect("task does not panic");
        let lines: Vec<_> = lines.lines().collect();
        for lines in lines.chunks(lines.len() / repeat) {
            let customer_email = format!("customer-{}@example.com", orders.len());
            let event = |line: &&str| {
                let line = line.replace(SAMPLE_ADDRESS, &customer_email);
                Payload::recorded(line).expect("event-router prints events")
            };
            let events = lines.iter().map(event).collect();
            orders.push(Order { scenario, customer_email, events });
        }
    }
    orders
}

/// Returns the events of several runs of a scenario, one per line.
async fn generate(scenario: &str, repeat: usize, seed: u64) -> String {
    // Cargo builds it with the tests of the workspace.
    let program = Path::new(env!("CARGO_BIN_EXE_plugin-shop")).with_file_name("event-router");
    let mut command = Command::new(&program);
    command.args(["scenario", scenario, "--dry-run", "--json"]);
    command.args(["--repeat", &repeat.to_string(), "--seed", &seed.to_string()]);
    let output = command.output().await.unwrap_or_else(|error| {
        let build = "build it with `cargo build --workspace --bin event-router`";
        panic!("cannot run {}: {error}; {build}", program.display())
    });
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("event-router prints JSON")
}

impl Order {
    /// Returns the objects in the events of this type.
    pub(super) fn objects(&self, event_type: &str) -> Vec<Value> {
        let events = self.events.iter().filter(|event| event.event_type() == event_type);
        events.map(|event| event.event().decode_object().expect("object is JSON")).collect()
    }

    /// Returns the only event of this type and its object.
    pub(super) fn only(&self, event_type: &str) -> (&Event, Value) {
        let mut events = self.events.iter().filter(|event| event.event_type() == event_type);
        let (Some(event), None) = (events.next(), events.next()) else {
            panic!("{} has not exactly one {event_type}", self.scenario)
        };
        let object = event.event().decode_object().expect("object is JSON");
        (event.event(), object)
    }
}

/// Returns the creation time in seconds since 1970.
pub(super) fn created(event: &Event) -> u64 {
    let created = event.created().expect("event has a time");
    created.duration_since(UNIX_EPOCH).expect("event is from after 1970").as_secs()
}
