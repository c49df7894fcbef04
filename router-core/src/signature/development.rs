//! The development secret, which the programs of one user share.

use std::{
    env,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::SigningSecret;

impl SigningSecret {
    /// Returns the secret for local development without a Stripe account.
    ///
    /// It is generated at random on first use and stored for the current user, so that a server and
    /// `event-router send` share it without configuration. The file can be read only by this user:
    /// `event-router/development-secret` in `$XDG_STATE_HOME`, in `~/.local/state`, or on Windows
    /// in `%LOCALAPPDATA%`.
    ///
    /// Any program that can read the file can forge events. Never accept this secret on an endpoint
    /// that receives real events.
    ///
    /// # Errors
    ///
    /// Fails if the file can neither be read nor created, or does not hold a secret. The error
    /// names the file.
    pub fn development() -> io::Result<Self> {
        let file = state_folder()?.join("event-router").join("development-secret");
        read_or_create(&file).map_err(|error| {
            let reason = format!("the development secret in {}: {error}", file.display());
            io::Error::new(error.kind(), reason)
        })
    }
}

fn state_folder() -> io::Result<PathBuf> {
    let from_env =
        |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = match cfg!(windows) {
        true => from_env("LOCALAPPDATA"),
        false => from_env("XDG_STATE_HOME").or_else(|| Some(env::home_dir()?.join(".local/state"))),
    };
    folder.ok_or_else(|| {
        let reason = "this user has no home folder to store a development secret in; set \
                      XDG_STATE_HOME to an absolute path, or use a signing secret of your own";
        io::Error::new(io::ErrorKind::NotFound, reason)
    })
}

fn read_or_create(file: &Path) -> io::Result<SigningSecret> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(file)?;
            // Read the file again, because another program may have created it first.
            fs::read_to_string(file)?
        }
        text => text?,
    };
    SigningSecret::new(text.trim_end()).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{error}; delete the file to get a new one"),
        )
    })
}

/// Creates the file atomically: writes a temporary file in the same folder, then links it to the
/// final name unless that exists already.
fn create(file: &Path) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let temporary = folder.join(format!("development-secret.{}", random_hex(8)?));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&temporary).and_then(|mut new| {
        writeln!(new, "whsec_{}", random_hex(16)?)?;
        new.sync_all()
    });
    let linked = written.and_then(|()| match fs::hard_link(&temporary, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = fs::remove_file(&temporary);
    linked.and(removed)
}

/// Returns this many random bytes as hexadecimal digits.
fn random_hex(bytes: usize) -> io::Result<String> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer)?;
    Ok(buffer.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::signature::sign;

    fn fresh_folder(name: &str) -> PathBuf {
        let folder = env::temp_dir()
            .join(format!("{name}-{}", random_hex(8).expect("the system has a random source")));
        fs::create_dir(&folder).expect("a random name is unused");
        folder
    }

    #[test]
    fn concurrent_programs_share_one_private_secret() {
        let folder = fresh_folder("development-secret");
        let file = folder.join("event-router").join("development-secret");
        let threads = [(); 8].map(|()| {
            let file = file.clone();
            thread::spawn(move || read_or_create(&file).map(|secret| sign(&secret, 1, b"{}")))
        });
        let signatures = threads.map(|thread| thread.join().unwrap().unwrap());
        assert!(signatures.iter().all(|signature| *signature == signatures[0]), "{signatures:?}");
        // No temporary file is left.
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&file), 0o600);
            assert_eq!(mode(file.parent().unwrap()), 0o700);
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn invalid_file_is_reported_without_its_contents() {
        let folder = fresh_folder("no-development-secret");
        let file = folder.join("development-secret");
        for (text, reason) in [("", "blank"), ("sk_test_1234", "API key")] {
            fs::write(&file, text).unwrap();
            let error = read_or_create(&file).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("delete the file"), "{error}");
            assert!(!error.contains("1234"), "{error}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
