//! `event-router reconcile`, against a stub of Stripe's API and servers that store events in an
//! inbox.

mod catch_up;
mod follow;
mod refusals;
mod server;

use std::{
    process::Command,
    time::{Duration, SystemTime},
};

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::SyntheticEvent,
};
use router_stripe::testing::{STUB_KEY, StubStripe};
use serde_json::Value;

use self::server::InboxServer;
use crate::program::{CliOutput, program};

const EVENTS: &str = "/v1/events";
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An account at Stripe, and a server with an inbox.
struct Shop {
    stripe: StubStripe,
    server: InboxServer,
}

impl Shop {
    async fn new() -> Self {
        let stripe = StubStripe::start().await.expect("a port is free");
        Self { stripe, server: InboxServer::start().await }
    }

    /// Adds an event that Stripe could not deliver to the list of an account. The events of a list
    /// must be added oldest first.
    fn miss(&self, account: &str, id: &str, age: Duration) {
        let mut event = event(id, age);
        event["delivery_success"] = false.into();
        self.stripe.add_item_of(account, EVENTS, event);
    }

    /// Adds events `evt_0`, `evt_1`… that Stripe could not deliver, one a minute.
    fn miss_many(&self, number: u32) {
        for index in 0..number {
            self.miss("", &format!("evt_{index}"), MINUTE * (number + 10 - index));
        }
    }

    /// Returns a command that catches up with the server's inbox.
    fn command(&self, arguments: &[&str]) -> Command {
        self.command_to(&self.server.url, arguments)
    }

    /// Returns a command that sends to this URL.
    fn command_to(&self, url: &str, arguments: &[&str]) -> Command {
        let base = self.stripe.url();
        let inbox = &self.server.inbox;
        let common = ["reconcile", "--api-base", &base, "--inbox", inbox, "--to", url];
        let mut command = program(&[&common, arguments].concat());
        command.env("STRIPE_API_KEY", STUB_KEY);
        command
    }

    fn run(&self, arguments: &[&str]) -> CliOutput {
        output(&mut self.command(arguments))
    }

    /// Returns the redacted output of a run.
    fn redact(&self, text: &str) -> String {
        text.replace(&self.server.url, "URL").replace(&self.stripe.url(), "STRIPE")
    }
}

fn output(command: &mut Command) -> CliOutput {
    let output: CliOutput = command.output().expect("the program runs").into();
    assert!(!format!("{output:?}").contains(STUB_KEY), "{output:?}");
    output
}

/// Returns the JSON of an event of this age.
fn event(id: &str, age: Duration) -> Value {
    event_at(id, SystemClock.wall() - age)
}

fn event_at(id: &str, created: SystemTime) -> Value {
    let event = SyntheticEvent::new("invoice.paid").id(id).created(created).build();
    let event = event.expect("the event is valid");
    serde_json::from_slice(event.body()).expect("an event is JSON")
}

fn summary(output: &CliOutput) -> Value {
    let lines = output.json();
    lines.last().map(|line| line["summary"].clone()).unwrap_or_default()
}

/// Returns the numbers of a summary, without those that are 0.
fn numbers(output: &CliOutput) -> Value {
    let summary = summary(output);
    let fields = summary.as_object().expect("a summary is printed").iter();
    let numbers = fields.filter(|(_, value)| value.as_u64().is_some_and(|number| number > 0));
    numbers.map(|(name, number)| (name.clone(), number.clone())).collect()
}
