//! A PostgreSQL server.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::{launch_with_retries, reason_to_skip, require, shell::ServerShell, unused_port};

/// The password of the user `postgres`. No error may show it.
pub const PASSWORD: &str = "of-the-tests-7c1f";

/// The variable that makes tests fail instead of skipping them.
const REQUIRED: &str = "REQUIRE_POSTGRES";

/// Returns a reason to skip if PostgreSQL is not installed. Tests then print it and pass; with
/// `REQUIRE_POSTGRES=1` they fail.
pub fn missing() -> Option<String> {
    reason_to_skip(programs(), REQUIRED)
}

/// The server shared by all tests of a program, each in its own schema or database. `None` if
/// PostgreSQL is [`missing`].
pub fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(Server::start).as_ref()
}

/// A running server. It is stopped when this value is dropped or the process ends, even if the
/// process is killed.
pub struct Server {
    port: u16,
    /// Runs `postgres.sh`.
    shell: ServerShell,
}

impl Server {
    /// Creates and starts a server. Returns `None` if PostgreSQL is [`missing`].
    pub fn start() -> Option<Self> {
        let bin = require(programs(), REQUIRED)?;
        // PostgreSQL refuses to run as root.
        let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        let shell = if is_root { unprivileged_shell() } else { Command::new("sh") };
        let arguments = [bin.as_os_str(), PASSWORD.as_ref()];
        let mut shell = ServerShell::start(shell, include_str!("postgres.sh"), arguments);
        shell.run("make").expect("initdb succeeds");
        let port = launch_with_retries(|| {
            let port = unused_port();
            shell.run(&format!("start {port}")).map(|()| port)
        });
        Some(Self { port, shell })
    }

    /// The URL of the administrator's database.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of another database.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres:{PASSWORD}@{}/{database}", self.address())
    }

    /// The server's host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Enables TLS from the next start on, with a self-signed certificate in `server.crt`.
    pub fn encrypt(&mut self) {
        self.shell.run("encrypt").expect("openssl is installed, as PostgreSQL on Debian requires");
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
        self.shell.run(&format!("start-again {}", self.port)).expect("the server starts");
    }
}

/// A shell of a user that may run PostgreSQL: `postgres` if it exists, or else `nobody`.
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

/// Returns the directory of the newest `initdb`, `pg_ctl` and `postgres`.
fn programs() -> Result<PathBuf, String> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = debian.map(|entry| entry.path()).max_by_key(version).map(|path| path.join("bin"));
    let paths = env::var_os("PATH").unwrap_or_default();
    let mut folders = newest.into_iter().chain(env::split_paths(&paths));
    let found = folders.find(|folder| folder.join("initdb").exists());
    found.ok_or_else(|| {
        "PostgreSQL is not installed here; `apt-get install postgresql` installs it".into()
    })
}
