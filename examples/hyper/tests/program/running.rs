//! Starts the program, sends it requests, and stops it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use router_core::{SigningSecret, testing::SyntheticEvent};

/// Returns a command for the program without an inbox.
pub(crate) fn program() -> Command {
    let mut command = program_with("off");
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Returns a command for the program with this inbox and free ports. The environment is otherwise
/// empty, because the program reads options from it. The development secret and mails are written
/// to the tests' folder instead of the user's.
pub(crate) fn program_with(inbox: &str) -> Command {
    configure(Command::new(env!("CARGO_BIN_EXE_example-hyper")), inbox)
}

/// Returns a command that runs the program with this inbox in a shell script, as `"$@"`.
pub(crate) fn program_in(inbox: &str, script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_example-hyper")]);
    configure(command, inbox)
}

fn configure(mut command: Command, inbox: &str) -> Command {
    command
        .env_clear()
        .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("EVENT_ROUTER_INBOX", inbox)
        .env("LISTEN", "127.0.0.1:0")
        .env("INTERNAL_LISTEN", "127.0.0.1:0")
        .env("OUTBOX", concat!(env!("CARGO_TARGET_TMPDIR"), "/outbox"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a program that fails to start, and returns its exit code and stderr.
pub(crate) fn refused(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.spawn().expect("program starts");
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut printed = String::new();
    BufReader::new(stdout).read_line(&mut printed).expect("stdout is UTF-8");
    if !printed.is_empty() {
        drop(child.kill());
        drop(child.wait());
        panic!("the program started, or printed an error to stdout: {printed}");
    }
    let Output { status, stderr, .. } = child.wait_with_output().expect("program exits");
    (status.code(), String::from_utf8(stderr).expect("stderr is UTF-8"))
}

/// The running program. Dropping it kills the process.
pub(crate) struct Running {
    child: Child,
    /// The output at startup.
    pub(crate) printed: String,
}

impl Running {
    /// Starts the program, and waits until it has printed its banner.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("program starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        let mut running = Self { child, printed: String::new() };
        // The banner's last line. The timeout fails a test whose program does not print it.
        while !running.printed.contains("\ncargo run ") {
            let line = lines.recv_timeout(Duration::from_secs(60));
            let line =
                line.unwrap_or_else(|_| panic!("the banner is incomplete:\n{}", running.printed));
            running.printed += &(line + "\n");
        }
        running
    }

    /// Returns the address with the port, as printed.
    pub(crate) fn address(&self) -> &str {
        let (_, rest) =
            self.printed.split_once("listening on http://").expect("the address is printed");
        rest.split_once("/webhook\n").expect("the path is printed").0
    }

    /// Returns the address of the internal server, as printed.
    pub(crate) fn internal_address(&self) -> &str {
        let (_, rest) =
            self.printed.split_once("\nmetrics at http://").expect("the address is printed");
        rest.split_once("/metrics\n").expect("the path is printed").0
    }

    /// Sends SIGTERM to the program.
    pub(crate) fn send_sigterm(&self) {
        let kill = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        assert!(kill.expect("`kill` is available").success());
    }

    /// Returns the log, which can be taken once.
    pub(crate) fn take_log(&mut self) -> BufReader<ChildStderr> {
        BufReader::new(self.child.stderr.take().expect("stderr is piped"))
    }

    /// Waits until the program exits.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("program is a child process")
    }

    /// Returns the maximum of the memory that the program has had, in MiB.
    pub(crate) fn peak_memory_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("program is running on Linux");
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("peak is known");
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("peak is in kB");
        kib / 1024
    }

    /// Stops the program with SIGTERM, and returns its exit status and log.
    pub(crate) fn terminate(self) -> (ExitStatus, String) {
        self.send_sigterm();
        self.finish()
    }

    /// Stops the program once it has logged a line with this text, and returns its exit status and
    /// log.
    pub(crate) fn terminate_after(mut self, text: &str) -> (ExitStatus, String) {
        let (mut log, mut stderr) = (String::new(), self.take_log());
        while !log.contains(text) {
            let read = stderr.read_line(&mut log).expect("stderr is UTF-8");
            assert!(read > 0, "the program has ended without logging {text:?}:\n{log}");
        }
        self.send_sigterm();
        stderr.read_to_string(&mut log).expect("stderr is UTF-8");
        (self.wait(), log)
    }

    /// Waits until the program exits, and returns its exit status and log.
    pub(crate) fn finish(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.take_log().read_to_string(&mut log).expect("stderr is UTF-8");
        (self.wait(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if the program has exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns a signed request with a `payment_intent.succeeded` event.
pub(crate) fn payment(secret: &SigningSecret) -> String {
    signed(SyntheticEvent::new("payment_intent.succeeded").id("evt_1").set("amount", 2000), secret)
}

/// Returns a signed request with this event.
pub(crate) fn signed(event: SyntheticEvent, secret: &SigningSecret) -> String {
    let payload = event.build().expect("event type is in the catalog");
    format!(
        "POST /webhook HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nStripe-Signature: {}\r\n\
         Content-Length: {}\r\n\r\n{}",
        payload.sign(secret),
        payload.body().len(),
        payload.event().payload_text()
    )
}

/// Sends a request, and returns the whole response.
pub(crate) fn send(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("server accepts connections");
    stream.write_all(request.as_bytes()).expect("server reads the request");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("server responds");
    response
}

/// Sends a request without a body, and returns the whole response.
pub(crate) fn exchange(address: &str, request_line: &str) -> String {
    send(address, &format!("{request_line} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"))
}
