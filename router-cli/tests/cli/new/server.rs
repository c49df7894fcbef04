//! The server of the new crate, which `tests/new-crate` builds from the template.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::Duration,
};

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::sqlx::{self, SqlitePool};
use serde_json::json;

use crate::program::{CliOutput, program, run};

/// Returns a command that runs the server in an otherwise empty environment.
fn my_shop(inbox: &Path) -> Command {
    let server = Path::new(env!("CARGO_BIN_EXE_event-router"))
        .with_file_name(format!("my-shop{}", env::consts::EXE_SUFFIX));
    assert!(
        server.exists(),
        "the server is not built; run `cargo test --workspace`, or build it with `cargo build -p my-shop`"
    );
    let mut command = Command::new(server);
    command
        .env_clear()
        .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("EVENT_ROUTER_INBOX", format!("sqlite:{}/inbox.db", inbox.display()))
        .stdin(Stdio::null());
    command
}

/// A running server. Dropping it stops the server.
struct Server {
    process: Child,
    address: String,
    stderr: BufReader<ChildStderr>,
}

impl Server {
    fn start(inbox: &Path) -> Self {
        let mut command = my_shop(inbox);
        let mut process = command
            .arg("--listen=127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut stderr = BufReader::new(process.stderr.take().expect("stderr is piped"));
        let mut lines = stderr.by_ref().lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let (_, url) = line.split_once("listening on http://")?;
            Some(url.trim_end_matches("/webhook").to_owned())
        });
        Self { process, address: address.expect("the server logs its address"), stderr }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the request is read");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the response is UTF-8");
        response
    }

    /// Requests a path until the status is this one; panics after a minute.
    fn wait_for(&self, path: &str, status: &str) -> String {
        let start = SystemClock.monotonic();
        loop {
            let response = self.get(path);
            if response.starts_with(&format!("HTTP/1.1 {status}\r\n")) {
                return response;
            }
            let waited = SystemClock.monotonic() - start;
            assert!(waited < Duration::from_secs(60), "{path} is not {status}:\n{response}");
        }
    }

    /// Sends an event as the README does, but to this server's port.
    fn send(&self, arguments: &[&str]) -> CliOutput {
        let url = format!("http://{}/webhook", self.address);
        let mut command = program(&[&["send"], arguments, &["--to", &url]].concat());
        command.env_remove("STRIPE_WEBHOOK_SECRET").output().expect("the program runs").into()
    }

    /// Runs the health check of the container.
    fn check_health(address: &str, inbox: &Path) -> Output {
        let mut command = my_shop(inbox);
        command.env("LISTEN", address).arg("--health").output().expect("the program runs")
    }

    /// Sends SIGTERM, and returns the exit code and the rest of the log.
    fn terminate(mut self) -> (Option<i32>, String) {
        let kill = Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status();
        assert!(kill.expect("`kill` is installed").success());
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).expect("the log is UTF-8");
        (self.process.wait().expect("the server exits").code(), log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[tokio::test]
async fn payment_sent_to_the_server_is_recorded() {
    let inbox = tempfile::tempdir().unwrap();
    let server = Server::start(inbox.path());
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    server.wait_for("/readyz", "200 OK");
    assert!(server.get("/payments/pi_1").starts_with("HTTP/1.1 404 Not Found\r\n"));

    let payment = ["payment_intent.succeeded", "--set", "id=pi_1", "--set", "amount=2000"];
    let output = server.send(&payment);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("\n  stored    payments.record\n"), "{output:?}");
    server.wait_for("/payments/pi_1", "200 OK");

    let address = server.address.clone();
    let health = Server::check_health(&address, inbox.path());
    assert_eq!(health.status.code(), Some(0), "{health:?}");
    assert!(String::from_utf8_lossy(&health.stdout).contains(r#"{"ready":true,"#), "{health:?}");

    let (code, log) = server.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("recording the payment payment_intent=\"pi_1\""), "{log}");
    let health = Server::check_health(&address, inbox.path());
    assert_eq!(health.status.code(), Some(1), "{health:?}");
    let error = format!("error: no answer from {address} (--listen): ");
    assert!(String::from_utf8_lossy(&health.stderr).starts_with(&error), "{health:?}");

    let file = format!("sqlite:{}/inbox.db", inbox.path().display());
    let pool = SqlitePool::connect(&file).await.unwrap();
    let rows: Vec<(String, i64)> =
        sqlx::query_as("select id, amount from payments").fetch_all(&pool).await.unwrap();
    assert_eq!(rows, [("pi_1".into(), 2000)]);
}

#[test]
fn doctor_takes_the_printed_routes() {
    let folder = tempfile::tempdir().unwrap();
    let printed = my_shop(folder.path()).arg("--routes").output().unwrap();
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let file = |name, text: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let routes = file("routes.json", &printed.stdout);
    let endpoint = json!({
        "id": "we_1", "object": "webhook_endpoint", "status": "enabled", "livemode": true,
        "url": "https://shop.example/webhook", "enabled_events": ["invoice.paid"],
    });
    let destinations = file("endpoints.json", json!({"data": [endpoint]}).to_string().as_bytes());
    let output = run(&["doctor", "--routes", &routes, "--destinations", &destinations]);
    assert_eq!(output.code, Some(1), "{output:?}");
    let missing =
        "The handler payments.record takes payment_intent.succeeded, which we_1 does not send";
    assert!(output.stdout.contains(missing), "{output:?}");
}

/// Asserts that the server exits with an error.
fn assert_refused(command: &mut Command, error: &str) {
    let mut process = command.stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut log = String::new();
    for line in BufReader::new(process.stderr.take().expect("stderr is piped")).lines() {
        log += &format!("{}\n", line.expect("the log is UTF-8"));
        if log.contains("listening on") {
            drop(process.kill());
        }
    }
    assert_eq!(process.wait().expect("the server exits").code(), Some(1), "{log}");
    assert!(log.contains(error), "{log}");
    assert!(!log.contains("geheim"), "{log}");
}

#[test]
fn start_error_names_setting_and_hides_secret() {
    let inbox = tempfile::tempdir().unwrap();
    let public = "error: STRIPE_WEBHOOK_SECRET is not set, and other machines can reach 0.0.0.0:0: \
                  set it to the endpoint's `whsec_…`, or listen on 127.0.0.1";
    assert_refused(my_shop(inbox.path()).arg("--listen=0.0.0.0:0"), public);
    let secret = "error: STRIPE_WEBHOOK_SECRET";
    assert_refused(my_shop(inbox.path()).env("STRIPE_WEBHOOK_SECRET", "\"geheim\""), secret);
    assert_refused(my_shop(inbox.path()).env("STRIPE_WEBHOOK_SECRET", ""), secret);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = format!("error: cannot listen on {address} (--listen): ");
    assert_refused(my_shop(inbox.path()).env("LISTEN", &address), &error);
    let missing = "sqlite:/nowhere/inbox.db cannot be opened as an inbox";
    assert_refused(
        my_shop(inbox.path()).env("EVENT_ROUTER_INBOX", "sqlite:/nowhere/inbox.db"),
        missing,
    );
}
