//! `reconcile --follow` sends each new event once.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    time::Duration,
};

use router_core::clock::{Clock as _, SystemClock};
use router_stripe::testing::{Fault, STUB_KEY, StubStripe};
use serde_json::Value;

use super::{EVENTS, event_at, server::ScriptedServer};
use crate::program::program;

/// A run that follows an account.
struct Follower {
    stripe: StubStripe,
    server: ScriptedServer,
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Follower {
    /// Starts a run, and waits until it follows.
    async fn start(statuses: &[u16]) -> Self {
        Self::start_with(statuses, &[]).await
    }

    async fn start_with(statuses: &[u16], options: &[&str]) -> Self {
        let stripe = StubStripe::start().await.expect("a port is free");
        let earlier = SystemClock.wall() - Duration::from_secs(5);
        stripe.add_item(EVENTS, event_at("evt_earlier", earlier));
        let server = ScriptedServer::start(statuses);
        let base = stripe.url();
        let arguments = ["reconcile", "--follow", "--interval", "500ms", "--api-base", &base];
        let mut command = program(&[&arguments[..], &["--to", &server.url], options].concat());
        command.env("STRIPE_API_KEY", STUB_KEY).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("the program writes");
        assert!(line.starts_with("sending the events since 20"), "{line}");
        Self { stripe, server, child, stderr }
    }

    fn add(&self, id: &str) {
        self.stripe.add_item(EVENTS, event_at(id, SystemClock.wall()));
    }

    /// Waits for this number of further requests to Stripe.
    async fn await_requests(&self, number: usize) {
        let end = self.stripe.requests().len() + number;
        while self.stripe.requests().len() < end {
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Presses Ctrl-C. Returns the exit code, and the texts of stdout and of stderr.
    fn stop(mut self) -> (Option<i32>, String, String) {
        let kill = Command::new("kill").arg("-INT").arg(self.child.id().to_string()).status();
        assert!(kill.expect("`kill` is installed").success());
        let output = self.child.wait_with_output().expect("the program exits");
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).expect("stderr is text");
        let stdout = String::from_utf8(output.stdout).expect("stdout is text");
        (output.status.code(), stdout, stderr)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_sent_once_over_many_polls() {
    let follower = Follower::start(&[]).await;
    // Several events in each second, some of them in the second in which a poll ends.
    for index in 0..30 {
        follower.add(&format!("evt_{index}"));
        SystemClock.sleep(Duration::from_millis(100)).await;
    }
    follower.server.wait_for(30).await;
    // Two requests a poll.
    follower.await_requests(6).await;
    let expected: Vec<_> = (0..30).map(|index| format!("evt_{index}")).collect();
    assert_eq!(follower.server.received(), expected);
    let (code, stdout, stderr) = follower.stop();
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
    assert_eq!(stdout.lines().count(), 30, "{stdout}");
    assert!(stdout.lines().all(|line| line.ends_with("  200 OK")), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_goes_on_after_a_500_of_the_server_and_of_stripe() {
    let follower = Follower::start(&[500]).await;
    follower.add("evt_0");
    follower.server.wait_for(1).await;
    for _ in 0..3 {
        follower.stripe.fault(Fault::status(500).header("stripe-should-retry", "false"));
    }
    follower.add("evt_1");
    assert_eq!(follower.server.wait_for(2).await, ["evt_0", "evt_1"]);
    follower.await_requests(4).await;
    let (code, stdout, stderr) = follower.stop();
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.lines().next().is_some_and(|line| line.ends_with("500 Internal Server Error")));
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
    let warning = "warning: GET /v1/events failed (500): a fault of the stub";
    assert!(stderr.starts_with(warning), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_tells_sent_and_refused_events_apart() {
    let follower = Follower::start_with(&[500], &["--json"]).await;
    follower.add("evt_0");
    follower.server.wait_for(1).await;
    follower.add("evt_1");
    follower.server.wait_for(2).await;
    follower.await_requests(4).await;
    let (code, stdout, _) = follower.stop();
    assert_eq!(code, Some(0), "{stdout}");
    let lines = stdout.lines().map(|line| serde_json::from_str(line).expect("output is JSON"));
    let outcomes: Vec<_> =
        lines.map(|line: Value| (line["outcome"].clone(), line["status"].clone())).collect();
    assert_eq!(outcomes, [("refused".into(), 500.into()), ("sent".into(), 200.into())]);
}
