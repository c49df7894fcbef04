//! Runs the built `event-router` program.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// The signing secret that the program and the test servers share.
pub(crate) const SECRET: &str = "whsec_of_the_tests";

/// Returns a command that runs the program in an otherwise empty environment with the secret.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_event-router"));
    command
        .env_clear()
        .env("STRIPE_WEBHOOK_SECRET", SECRET)
        .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// The exit code and the output of a run.
#[derive(Debug)]
pub(crate) struct CliOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for CliOutput {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl CliOutput {
    /// Parses each line of stdout as JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        let line = |line: &str| line.parse().unwrap_or_else(|_| panic!("not JSON: {line}"));
        self.stdout.lines().map(line).collect()
    }
}

/// Runs the program until it exits.
pub(crate) fn run(arguments: &[&str]) -> CliOutput {
    program(arguments).output().expect("the program runs").into()
}

/// Runs the program with the given standard input.
pub(crate) fn run_with(arguments: &[&str], input: &(impl AsRef<[u8]> + ?Sized)) -> CliOutput {
    let mut command = program(arguments);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(input.as_ref())
        .expect("the program reads stdin");
    child.wait_with_output().expect("the program exits").into()
}
