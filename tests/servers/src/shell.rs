//! A script that runs a server.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A running script, which stops its server and exits when its standard input is closed. That
/// happens when this value is dropped or the process ends, even if the process is killed.
pub(crate) struct ServerShell {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    _child: Child,
}

impl ServerShell {
    /// Starts a script. `shell` is the command that runs a shell or Python, to which the script and
    /// its arguments are added.
    pub(crate) fn start<const N: usize>(
        mut shell: Command,
        script: &str,
        arguments: [&OsStr; N],
    ) -> Self {
        shell.args(["-c", script, "sh"]).args(arguments);
        // The script has a process group of its own, so that Ctrl-C interrupts only the tests,
        // which then stop the server.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = shell.spawn().expect("the interpreter is installed");
        let commands = child.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { commands, answers, _child: child }
    }

    /// Sends a command to the script, and waits until it is done.
    pub(crate) fn run(&mut self, command: &str) -> Result<(), String> {
        let answer = self.ask(command)?;
        if answer.trim() == "ok" { Ok(()) } else { Err(answer) }
    }

    /// Sends a command to the script, and returns its answer.
    pub(crate) fn ask(&mut self, command: &str) -> Result<String, String> {
        writeln!(self.commands, "{command}").map_err(|error| error.to_string())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(|error| error.to_string())?;
        Ok(answer)
    }
}
