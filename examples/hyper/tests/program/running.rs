//! The program: started, asked and stopped.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use router_core::{SigningSecret, testing::SyntheticEvent};

/// The program, which handles while the sender waits.
pub(crate) fn program() -> Command {
    let mut command = program_with("off");
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// The program with this inbox, and otherwise with an empty environment: it reads its options from there too. A
/// development secret is among what the tests make, and not the user's.
pub(crate) fn program_with(inbox: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-hyper"));
    command
        .env_clear()
        .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("EVENT_ROUTER_INBOX", inbox)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a program that cannot start says, and how it ends.
pub(crate) fn refused(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.spawn().expect("it runs");
    let stdout = child.stdout.take().expect("it is piped");
    let mut printed = String::new();
    BufReader::new(stdout).read_line(&mut printed).expect("it is UTF-8");
    if !printed.is_empty() {
        drop(child.kill());
        drop(child.wait());
        panic!("it started, or an error went to stdout: {printed}");
    }
    let Output { status, stderr, .. } = child.wait_with_output().expect("it ends");
    (status.code(), String::from_utf8(stderr).expect("it is UTF-8"))
}

/// The running program; killed if a test fails before it has stopped it.
pub(crate) struct Running {
    child: Child,
    /// What it printed at start.
    pub(crate) printed: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.arg("--listen=127.0.0.1:0").spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        let mut running = Self { child, printed: String::new() };
        // The last line. A program that no longer prints it fails the test instead of hanging it.
        while !running.printed.contains("\ncargo run ") {
            let line = lines.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|_| panic!("no last line in:\n{}", running.printed));
            running.printed += &(line + "\n");
        }
        running
    }

    /// `127.0.0.1` and the port.
    pub(crate) fn address(&self) -> &str {
        let (_, rest) = self.printed.split_once("listening on http://").expect("it says where");
        rest.split_once("/webhook\n").expect("it says which path").0
    }

    /// Sends it a SIGTERM.
    pub(crate) fn ask_to_stop(&self) {
        let kill = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        assert!(kill.expect("there is a `kill`").success());
    }

    /// Stops it; how it ended, and its log.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        self.ask_to_stop();
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut log).expect("it is UTF-8");
        (self.child.wait().expect("it runs"), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended already, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The request with which Stripe says that a payment has succeeded, signed with this secret.
pub(crate) fn payment(secret: &SigningSecret) -> String {
    let event = SyntheticEvent::new("payment_intent.succeeded").id("evt_1").set("amount", 2000);
    let payload = event.build().expect("there is such an event");
    format!(
        "POST /webhook HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nStripe-Signature: {}\r\n\
         Content-Length: {}\r\n\r\n{}",
        payload.sign(secret),
        payload.body().len(),
        payload.event().payload_text()
    )
}

/// Sends a request, and reads the whole response.
pub(crate) fn send(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("it answers");
    response
}

/// A request without a body, and the whole response.
pub(crate) fn exchange(address: &str, request_line: &str) -> String {
    send(address, &format!("{request_line} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"))
}
