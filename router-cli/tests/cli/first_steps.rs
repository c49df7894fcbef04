//! The first steps: `cargo run` in one terminal, `event-router send` in another, and no secret to pass on.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::program::{Ran, program};

/// `cargo run`'s server; it ends with the test.
struct Server {
    cargo: Child,
    url: String,
    /// What it has not yet printed; a pipe that is closed would end it.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(inbox: &Path) -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut cargo = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--", "--listen=127.0.0.1:0"])
            .current_dir(workspace)
            .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .env("EVENT_ROUTER_INBOX", format!("sqlite:{}/inbox.db", inbox.display()))
            .env_remove("STRIPE_WEBHOOK_SECRET")
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cargo runs");
        let mut stdout = BufReader::new(cargo.stdout.take().expect("it is piped"));
        let mut lines = stdout.by_ref().lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        Self { cargo, url: url.expect("it says where it listens"), _stdout: stdout }
    }

    /// Stops it; its log. `cargo run` is the server itself by now where there is an `exec`.
    fn stop(mut self) -> String {
        let kill = Command::new("kill").arg("-TERM").arg(self.cargo.id().to_string()).status();
        assert!(kill.expect("there is a `kill`").success());
        let mut log = String::new();
        let mut stderr = self.cargo.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut log).expect("it is UTF-8");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.cargo.kill());
        drop(self.cargo.wait());
    }
}

#[test]
fn an_event_that_is_sent_to_cargo_runs_server_is_handled() {
    let inbox = tempfile::tempdir().unwrap();
    let server = Server::start(inbox.path());
    let run = |arguments: &[&str]| -> Ran {
        let mut command = program(&[arguments, &["--to", &server.url]].concat());
        command.env_remove("STRIPE_WEBHOOK_SECRET").output().unwrap().into()
    };
    let ran = run(&["send", "payment_intent.succeeded", "--set", "amount=2000"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("\n  200 OK in "), "{ran:?}");
    assert!(ran.stdout.contains("\n  stored  payments.succeeded\n"), "{ran:?}");
    let ran = run(&["send", "customer.created"]);
    assert!(ran.code == Some(0) && ran.stdout.contains("\n  no handler is for it\n"), "{ran:?}");
    let ran = run(&["send", "payment_intent.succeeded", "--set", "amount=a lot"]);
    assert!(
        ran.code == Some(0) && ran.stdout.contains("\n  stored  payments.succeeded\n"),
        "{ran:?}"
    );
    for scenario in ["subscription-lifecycle", "checkout", "refund", "dispute"] {
        let ran = run(&["scenario", scenario, "--duplicate", "0.3", "--reorder", "--json"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.json().last().unwrap()["summary"]["sent"].as_u64() > Some(5), "{ran:?}");
    }
    let log = server.stop();
    assert!(log.contains("payment succeeded payment_intent=\"pi_3"), "{log}");
    assert!(log.contains(" amount=2000 currency=\"usd\""), "{log}");
    assert!(log.contains("dead letter: ") && log.contains("event-router inbox retry"), "{log}");
}
