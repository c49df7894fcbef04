//! A process of the shop.

use std::{
    io,
    net::SocketAddr,
    process::{ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

use crate::soon;

/// It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it was built");
        let mut told = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (tell, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = told.next_line().await {
                // Nobody need listen.
                drop(tell.send(line));
            }
        });
        Self { child, lines }
    }

    /// Waits until it says something that begins so, and what it says further. `None` if it dies before.
    pub(crate) async fn says(&mut self, beginning: &str) -> Option<String> {
        let said = async {
            loop {
                let line = self.lines.recv().await?;
                if let Some(rest) = line.strip_prefix(beginning) {
                    return Some(rest.trim().to_owned());
                }
            }
        };
        soon(beginning, said).await
    }

    /// Where it serves.
    pub(crate) async fn address(&mut self) -> Option<SocketAddr> {
        Some(self.says("listening").await?.parse().expect("it is an address"))
    }

    /// What it has said and nobody has heard yet.
    pub(crate) fn said(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.try_recv().ok()).collect()
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.child.wait().await.expect("it was started")
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it was started").is_none()
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("it was started");
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) async fn signal(&self, signal: &str) {
        run("kill", &[&format!("-{signal}"), &self.id()]).await.expect("it runs");
    }

    /// Sets what it may use, such as `--fsize=4096:unlimited`.
    pub(crate) async fn limit(&self, limit: &str) -> io::Result<()> {
        run("prlimit", &["--pid", &self.id(), limit]).await
    }

    fn id(&self) -> String {
        self.child.id().expect("nobody has waited for its end").to_string()
    }
}

async fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let status = Command::new(program).args(arguments).status().await?;
    assert!(status.success(), "{program} {arguments:?}: {status}");
    Ok(())
}
