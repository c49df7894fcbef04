//! Starts a PostgreSQL server for tests: on the loopback interface, with a temporary data directory
//! that is deleted when the test process ends.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The password of the user `postgres`. No error may show it.
pub(crate) const PASSWORD: &str = "of-the-tests-7c1f";

/// Returns a reason to skip if PostgreSQL is not installed. Tests then print it and pass; with
/// `REQUIRE_POSTGRES=1` they fail.
pub(crate) fn missing() -> Option<String> {
    if programs().is_some() || std::env::var_os("REQUIRE_POSTGRES").is_some_and(|set| set == "1") {
        return None;
    }
    Some("PostgreSQL is not installed here; `apt-get install postgresql` installs it".into())
}

/// The server shared by all tests of a program, each in its own schema or database. `None` if
/// PostgreSQL is [`missing`].
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
    /// `postgres.sh`, which exits when its standard input is closed.
    _child: Child,
}

impl Server {
    /// Creates and starts a server. Returns `None` if PostgreSQL is [`missing`].
    pub(crate) fn start() -> Option<Self> {
        if let Some(missing) = missing() {
            println!("skipped: {missing}");
            return None;
        }
        let bin = programs().expect("PostgreSQL is installed, as REQUIRE_POSTGRES=1 requires");
        // PostgreSQL refuses to run as root.
        let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        let mut command = if is_root { unprivileged_shell() } else { Command::new("sh") };
        let script = include_str!("postgres.sh");
        command.args(["-c", script, "sh"]).arg(bin).arg(PASSWORD);
        // A process group of its own, so that Ctrl-C interrupts only the tests, which then stop the
        // server.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell is installed");
        let commands = child.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut server = Self { port: 0, commands, answers, _child: child };
        server.command("make").expect("initdb succeeds");
        // Another process may take the port before the server does.
        for attempt in 1.. {
            server.port = unused_port();
            match server.command(&format!("start {}", server.port)) {
                Ok(()) => break,
                Err(error) => assert!(attempt < 5, "the server does not start: {error}"),
            }
        }
        Some(server)
    }

    /// The URL of the administrator's database.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of another database.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres:{PASSWORD}@{}/{database}", self.address())
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Enables TLS from the next start on, with a self-signed certificate in `server.crt`.
    pub(crate) fn encrypt(&mut self) {
        self.command("encrypt").expect("openssl is installed, as PostgreSQL on Debian requires");
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
        self.command(&format!("start-again {}", self.port)).expect("the server starts");
    }

    fn command(&mut self, command: &str) -> Result<(), String> {
        writeln!(self.commands, "{command}").map_err(|error| error.to_string())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(|error| error.to_string())?;
        if answer.trim() == "ok" { Ok(()) } else { Err(answer) }
    }
}

/// A shell as a user who may run PostgreSQL: `postgres` if it exists, or else `nobody`.
fn unprivileged_shell() -> Command {
    let exists = |user: &&str| {
        let id = Command::new("id").arg(user).stdout(Stdio::null()).stderr(Stdio::null()).status();
        id.is_ok_and(|status| status.success())
    };
    let user =
        ["postgres", "nobody"].into_iter().find(exists).expect("a user other than root exists");
    let group = Command::new("id").args(["-g", user]).output().expect("id is installed").stdout;
    let group = String::from_utf8(group).expect("id prints a number");
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={}", group.trim()));
    command.args(["--clear-groups", "sh"]);
    command
}

/// The directory of the newest `initdb`, `pg_ctl` and `postgres`.
fn programs() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = debian.map(|entry| entry.path()).max_by_key(version).map(|path| path.join("bin"));
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = newest.into_iter().chain(std::env::split_paths(&paths));
    folders.find(|folder| folder.join("initdb").exists())
}

/// Returns a port on which nothing listens.
pub(crate) fn unused_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("the listener is bound").port()
}
