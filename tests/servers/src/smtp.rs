//! An SMTP server: aiosmtpd, in a virtualenv that the first test creates.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

use crate::{launch_with_retries, require, shell::ServerShell, unused_port};

/// The user that the server requires.
pub const USER: &str = "shop@example.com";

/// The user's password. No error may show it.
pub const PASSWORD: &str = "of-the-tests-51d0";

/// The way in which a connection is encrypted.
pub enum Encryption {
    /// After the client has sent `STARTTLS`, which the server requires.
    StartTls,
    /// From the first byte.
    Tls,
}

/// A running server. It is stopped when this value is dropped or the process ends, even if the
/// process is killed.
pub struct Server {
    port: u16,
    /// Runs `smtp.py`, which documents its commands.
    shell: ServerShell,
}

impl Server {
    /// Starts a server. Returns `None` if the virtualenv cannot be created, for example because
    /// Python is not installed or PyPI cannot be reached; panics then if `REQUIRE_SMTP=1` is set.
    pub fn start() -> Option<Self> {
        let python = require(python(), "REQUIRE_SMTP")?;
        let arguments = [USER.as_ref(), PASSWORD.as_ref()];
        let mut shell =
            ServerShell::start(Command::new(python), include_str!("smtp.py"), arguments);
        let port = launch_with_retries(|| {
            let port = unused_port();
            shell.run(&format!("start {port}")).map(|()| port)
        });
        Some(Self { port, shell })
    }

    /// The server's URL with the login.
    pub fn url(&self) -> String {
        self.url_with_password(PASSWORD)
    }

    /// The server's URL with another password.
    pub fn url_with_password(&self, password: &str) -> String {
        format!("smtp://{}:{password}@{}", USER.replace('@', "%40"), self.address())
    }

    /// The server's host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the server again with TLS, with a self-signed certificate of `127.0.0.1`, which this
    /// returns in PEM.
    pub fn encrypt(&mut self, encryption: Encryption) -> String {
        let folder = tempfile::tempdir().expect("a folder can be created");
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let mut openssl = Command::new("openssl");
        openssl
            .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(' '));
        openssl.args("-days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1".split(' '));
        openssl.arg("-addext").arg("basicConstraints=critical,CA:FALSE");
        let made = openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output();
        assert!(made.expect("openssl is installed").status.success());
        let mode = match encryption {
            Encryption::StartTls => "starttls",
            Encryption::Tls => "tls",
        };
        let files = format!("{} {}", certificate.display(), key.display());
        self.shell.run(&format!("encrypt {mode} {files}")).expect("the certificate is valid");
        self.stop();
        self.restart();
        fs::read_to_string(&certificate).expect("openssl wrote it")
    }

    /// Shuts the server down.
    pub fn stop(&mut self) {
        self.shell.run("stop").expect("the server runs");
    }

    /// Starts the server again, on the same port.
    pub fn restart(&mut self) {
        self.shell.run(&format!("start {}", self.port)).expect("the server starts");
    }

    /// Makes the server answer the next command `when`, which is `RCPT` or `DATA`, with this reply,
    /// such as `451 try later`.
    pub fn refuse(&mut self, when: &str, reply: &str) {
        self.shell.run(&format!("refuse {when} {reply}")).expect("the server runs");
    }

    /// Makes the server never answer the next `DATA`.
    pub fn stall(&mut self) {
        self.shell.run("stall").expect("the server runs");
    }

    /// Makes the server answer this percentage of `DATA` with 451, at random. The seed decides
    /// which ones.
    pub fn defer(&mut self, percentage: f64, seed: u64) {
        self.shell.run(&format!("defer {percentage} {seed}")).expect("the server runs");
    }

    /// Returns the accepted mails. Each has the addresses `from` and `to` of the envelope, the
    /// `headers` with names in lower case, and the decoded parts `text` and `html`.
    pub fn mails(&mut self) -> Vec<Value> {
        let mails = self.shell.ask("mails").expect("the server runs");
        serde_json::from_str(&mails).unwrap_or_else(|error| panic!("{error}: {mails}"))
    }
}

/// Returns the Python of the virtualenv, which is created if it does not exist.
fn python() -> Result<&'static Path, String> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let venv = target().join("smtp-venv");
        let mut script = Command::new("sh");
        script.arg(here.join("../interop/venv.sh")).arg(&venv).arg(here.join("requirements.txt"));
        match script.status() {
            Ok(status) if status.success() => Ok(venv.join("bin/python")),
            failed => Err(format!("no virtualenv with aiosmtpd could be created: {failed:?}")),
        }
    });
    python.as_deref().map_err(Clone::clone)
}

/// Returns cargo's target directory, which contains the program of the test.
fn target() -> PathBuf {
    let program = env::current_exe().expect("the program has a path");
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.map_or_else(env::temp_dir, Path::to_path_buf)
}
