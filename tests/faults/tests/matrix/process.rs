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

use crate::soon;

/// It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Process {
    /// What it logs is added to the log. (By a pipe: a file would have no room for it where the disk is full.)
    pub(crate) fn start(mut command: Command, log: Arc<Mutex<String>>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("it was built");
        let (tell, lines) = mpsc::unbounded_channel();
        // Nobody need listen.
        read(child.stdout.take(), move |line| drop(tell.send(line)));
        read(child.stderr.take(), move |line| {
            *log.lock().expect("nobody panics with it") += &(line + "\n");
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

fn read(
    from: Option<impl AsyncRead + Send + Unpin + 'static>,
    mut to: impl FnMut(String) + Send + 'static,
) {
    let mut lines = BufReader::new(from.expect("it is piped")).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            to(line);
        }
    });
}

async fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let status = Command::new(program).args(arguments).status().await?;
    assert!(status.success(), "{program} {arguments:?}: {status}");
    Ok(())
}
