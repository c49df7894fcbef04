//! A PostgreSQL server for tests: on this machine's loopback, with a disk of its own, gone with the process.

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

/// Of the user `postgres`. No error may show it.
pub(crate) const PASSWORD: &str = "of-the-tests-7c1f";

/// Without it, tests say so and pass; with `REQUIRE_POSTGRES=1` they fail.
pub(crate) fn missing() -> Option<String> {
    if programs().is_some() || std::env::var_os("REQUIRE_POSTGRES").is_some_and(|set| set == "1") {
        return None;
    }
    Some("PostgreSQL is not installed here; `apt-get install postgresql` installs it".into())
}

/// The one that all tests of a program share, each in a schema or a database of its own; none, where it is
/// [`missing`].
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
        if let Some(missing) = missing() {
            println!("passed over: {missing}");
            return None;
        }
        let bin = programs().expect("PostgreSQL is installed, as REQUIRE_POSTGRES=1 demands");
        // PostgreSQL does not run as root.
        let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        let mut command = if is_root { as_somebody() } else { Command::new("sh") };
        let script = include_str!("postgres.sh");
        command.args(["-c", script, "sh"]).arg(bin).arg(PASSWORD);
        // A Ctrl-C in the terminal ends the tests alone, and they end this.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("there is a shell");
        let tell = child.stdin.take().expect("it is piped");
        let told = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut server = Self { port: 0, tell, told, _child: child };
        server.tell("make").expect("there is room for a database");
        // Somebody else may take the port before the server does.
        for attempt in 1.. {
            server.port = unused_port();
            match server.tell(&format!("start {}", server.port)) {
                Ok(()) => break,
                Err(error) => assert!(attempt < 5, "the server does not start: {error}"),
            }
        }
        Some(server)
    }

    /// Where it is, for its administrator.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The same, of another database.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres:{PASSWORD}@{}/{database}", self.address())
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Has it speak TLS from its next start on, by a certificate of its own in `server.crt`.
    pub(crate) fn encrypt(&mut self) {
        self.tell("encrypt").expect("openssl is installed, as with PostgreSQL on Debian");
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
        self.tell(&format!("start-again {}", self.port)).expect("it has run before");
    }

    fn tell(&mut self, command: &str) -> Result<(), String> {
        writeln!(self.tell, "{command}").map_err(|error| error.to_string())?;
        let mut answer = String::new();
        self.told.read_line(&mut answer).map_err(|error| error.to_string())?;
        if answer.trim() == "ok" { Ok(()) } else { Err(answer) }
    }
}

/// A shell as a user who may run PostgreSQL: its own if there is one.
fn as_somebody() -> Command {
    let is_there = |user: &&str| {
        let id = Command::new("id").arg(user).stdout(Stdio::null()).stderr(Stdio::null()).status();
        id.is_ok_and(|status| status.success())
    };
    let user = ["postgres", "nobody"].into_iter().find(is_there).expect("there is a user but root");
    let group = Command::new("id").args(["-g", user]).output().expect("it was found").stdout;
    let group = String::from_utf8(group).expect("it is a number");
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={}", group.trim()));
    command.args(["--clear-groups", "sh"]);
    command
}

/// The folder of the newest `initdb`, `pg_ctl` and `postgres`.
fn programs() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = debian.map(|entry| entry.path()).max_by_key(version).map(|path| path.join("bin"));
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = newest.into_iter().chain(std::env::split_paths(&paths));
    folders.find(|folder| folder.join("initdb").exists())
}

/// One on which nothing listens.
pub(crate) fn unused_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}
