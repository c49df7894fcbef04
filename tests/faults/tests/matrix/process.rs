//! A process of the shop.

use std::{
    io,
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

use crate::with_timeout;

/// A child process, killed on drop.
pub(crate) struct Process {
    child: Child,
    /// The lines of its standard output that have not been read yet.
    lines: mpsc::UnboundedReceiver<String>,
}

impl Process {
    /// Starts a process, and appends its standard error to the log. The output is piped, because a
    /// file would be subject to the file size limit that simulates a full disk.
    pub(crate) fn start(mut command: Command, log: Arc<Mutex<String>>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("program exists");
        let (sender, lines) = mpsc::unbounded_channel();
        // Sending fails once the receiver is dropped.
        for_each_line(child.stdout.take(), move |line| drop(sender.send(line)));
        for_each_line(child.stderr.take(), move |line| {
            *log.lock().expect("lock is not poisoned") += &(line + "\n");
        });
        Self { child, lines }
    }

    /// Waits for a line with this prefix, and returns the rest of the line. Returns `None` if the
    /// process dies before.
    pub(crate) async fn wait_for_line(&mut self, prefix: &str) -> Option<String> {
        let matching = async {
            loop {
                let line = self.lines.recv().await?;
                if let Some(rest) = line.strip_prefix(prefix) {
                    return Some(rest.trim().to_owned());
                }
            }
        };
        with_timeout(prefix, matching).await
    }

    /// Waits for the address of its endpoint. Returns `None` if the process dies before.
    pub(crate) async fn address(&mut self) -> Option<SocketAddr> {
        Some(self.wait_for_line("listening").await?.parse().expect("address is valid"))
    }

    /// Returns the lines that have not been read yet.
    pub(crate) fn unread_lines(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.try_recv().ok()).collect()
    }

    /// Waits for the process to exit.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        self.child.wait().await.expect("child process exists")
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("child process exists").is_none()
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("child process exists");
    }

    /// Sends the process a signal, such as `STOP`.
    pub(crate) async fn signal(&self, signal: &str) {
        run("kill", &[&format!("-{signal}"), &self.id()]).await.expect("`kill` is installed");
    }

    /// Sets a resource limit, such as `--fsize=4096:unlimited`.
    pub(crate) async fn set_limit(&self, limit: &str) -> io::Result<()> {
        run("prlimit", &["--pid", &self.id(), limit]).await
    }

    /// Returns the largest resident set size that the process has had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(status).expect("process is alive");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.expect("Linux reports it").trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().expect("Linux reports a number") * 1024
    }

    fn id(&self) -> String {
        self.child.id().expect("process has not been waited for").to_string()
    }
}

/// Spawns a task that calls `handle` for each line of the output.
fn for_each_line(
    output: Option<impl AsyncRead + Send + Unpin + 'static>,
    mut handle: impl FnMut(String) + Send + 'static,
) {
    let mut lines = BufReader::new(output.expect("output is piped")).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            handle(line);
        }
    });
}

async fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let status = Command::new(program).args(arguments).status().await?;
    assert!(status.success(), "{program} {arguments:?}: {status}");
    Ok(())
}
