//! The quick start: the server of `cargo run` in one terminal, `event-router send` in another,
//! without a secret. `.ci/readme` runs the commands themselves.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    time::Duration,
};

use router_core::clock::{Clock as _, SystemClock};

use crate::program::{CliOutput, program};

/// The server that `cargo run` starts. Dropping it stops the server.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
    /// The address of the internal server.
    internal: String,
    stderr: BufReader<ChildStderr>,
    /// Keeps the pipe open: closing it would end the server.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(inbox: &Path) -> Self {
        // `cargo run` would build all dependencies again, because without the other packages they
        // have fewer features.
        let server = Path::new(env!("CARGO_BIN_EXE_event-router"))
            .with_file_name(format!("example-hyper{}", env::consts::EXE_SUFFIX));
        let advice = "the server is not built; run `cargo test --workspace`, or build it with \
                      `cargo build -p example-hyper`";
        let mut process = Command::new(server)
            .args(["--listen=127.0.0.1:0", "--internal-listen=127.0.0.1:0"])
            .arg(format!("--outbox={}/outbox", inbox.display()))
            .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .env("EVENT_ROUTER_INBOX", format!("sqlite:{}/inbox.db", inbox.display()))
            .env_remove("STRIPE_WEBHOOK_SECRET")
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect(advice);
        let mut stdout = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let mut lines = stdout.by_ref().lines().map_while(Result::ok);
        let mut printed = |before: &str| {
            let rest = lines.find_map(|line| line.strip_prefix(before).map(str::to_owned));
            rest.expect("the server prints its addresses")
        };
        let url = printed("listening on ");
        let page = printed("orders, subscriptions and disputes are shown at http://");
        let internal = page.trim_end_matches("/shop").to_owned();
        let stderr = BufReader::new(process.stderr.take().expect("stderr is piped"));
        Self { process, url, internal, stderr, _stdout: stdout }
    }

    /// Waits until the server logs a line with this text.
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let read = self.stderr.read_line(&mut line).expect("the log is UTF-8");
            assert!(read > 0, "the server has ended without logging {text:?}");
        }
    }

    /// Polls the page with the shop's orders until it has this text; panics after a minute.
    fn wait_for_page(&self, text: &str) {
        let request = "GET /shop HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let start = SystemClock.monotonic();
        let mut page = String::new();
        while !page.contains(text) {
            let waited = SystemClock.monotonic() - start;
            assert!(waited < Duration::from_secs(60), "no {text:?} on the page:\n{page}");
            let mut stream = TcpStream::connect(&self.internal).expect("the page is served");
            stream.write_all(request.as_bytes()).expect("the request is read");
            page.clear();
            stream.read_to_string(&mut page).expect("the page is UTF-8");
        }
    }

    /// Stops the server, and returns the rest of its log.
    pub(crate) fn stop(mut self) -> String {
        let kill = Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status();
        assert!(kill.expect("`kill` is installed").success());
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).expect("the log is UTF-8");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn event_sent_to_the_default_server_is_handled() {
    let inbox = tempfile::tempdir().unwrap();
    let server = Server::start(inbox.path());
    let run = |arguments: &[&str]| -> CliOutput {
        let mut command = program(&[arguments, &["--to", &server.url]].concat());
        command.env_remove("STRIPE_WEBHOOK_SECRET").output().unwrap().into()
    };
    let output = run(&["send", "payment_intent.succeeded", "--set", "amount=2000"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("\n  200 OK in "), "{output:?}");
    assert!(output.stdout.contains("\n  stored    payments.succeeded\n"), "{output:?}");
    let output = run(&["send", "customer.created"]);
    assert!(
        output.code == Some(0) && output.stdout.contains("\n  stored    mirror.record\n"),
        "{output:?}"
    );
    let output = run(&["send", "payment_intent.succeeded", "--set", "amount=a lot"]);
    assert!(
        output.code == Some(0) && output.stdout.contains("\n  stored    payments.succeeded\n"),
        "{output:?}"
    );
    for scenario in ["subscription-lifecycle", "checkout", "refund", "dispute"] {
        let output = run(&["scenario", scenario, "--duplicate", "0.3", "--reorder", "--json"]);
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(output.json().last().unwrap()["summary"]["sent"].as_u64() > Some(5), "{output:?}");
    }
    server.wait_for_page("<span class=\"tag paid\">paid</span>");
    server.wait_for_page("<span class=\"tag canceled\">canceled</span>");
    server.wait_for_page("<span class=\"tag won\">won</span>");
    let log = server.stop();
    assert!(log.contains("payment succeeded payment_intent=\"pi_3"), "{log}");
    assert!(log.contains(" amount=2000 currency=\"usd\""), "{log}");
    assert!(log.contains("dead letter stored; retry it with `event-router inbox retry"), "{log}");
}
