//! A signing secret for trying things out, which the programs of one user share.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::SigningSecret;

impl SigningSecret {
    /// A secret for trying things out without a Stripe account: made at random at its first use, and kept
    /// for this user of this machine, so that a server and `event-router send` agree on it without being
    /// told. It is in a file that only this user can read, `event-router/development-secret` in
    /// `$XDG_STATE_HOME`, in `~/.local/state`, or on Windows in `%LOCALAPPDATA%`.
    ///
    /// Whoever can read that file can forge events: never accept it where real ones arrive.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] that names the file, where it can neither be read nor made, or holds no secret.
    pub fn development() -> io::Result<Self> {
        let file = folder()?.join("event-router").join("development-secret");
        read_or_make(&file).map_err(|error| {
            let why = format!("the development secret in {}: {error}", file.display());
            io::Error::new(error.kind(), why)
        })
    }
}

fn folder() -> io::Result<PathBuf> {
    let set = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = match cfg!(windows) {
        true => set("LOCALAPPDATA"),
        false => set("XDG_STATE_HOME").or_else(|| Some(env::home_dir()?.join(".local/state"))),
    };
    folder.ok_or_else(|| {
        let why = "this user has no home folder to keep a development secret in; set XDG_STATE_HOME \
                   to a folder, or use a signing secret of your own";
        io::Error::new(io::ErrorKind::NotFound, why)
    })
}

fn read_or_make(file: &Path) -> io::Result<SigningSecret> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(file)?;
            // Not what was made: another program may have been first.
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

/// Whole or not at all: it is written beside its place, and takes the place only if that is free.
fn make(file: &Path) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside = folder.join(format!("development-secret.{}", random(8)?));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&beside).and_then(|mut new| {
        writeln!(new, "whsec_{}", random(16)?)?;
        new.sync_all()
    });
    let placed = written.and_then(|()| match fs::hard_link(&beside, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        placed => placed,
    });
    let removed = fs::remove_file(&beside);
    placed.and(removed)
}

/// This many bytes of chance, as hexadecimal digits.
fn random(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::signature::sign;

    fn fresh_folder(name: &str) -> PathBuf {
        let folder =
            env::temp_dir().join(format!("{name}-{}", random(8).expect("there is chance")));
        fs::create_dir(&folder).expect("it is new");
        folder
    }

    #[test]
    fn programs_that_start_at_once_agree_on_one_secret_that_others_cannot_read() {
        let folder = fresh_folder("development-secret");
        let file = folder.join("event-router").join("development-secret");
        let makers = [(); 8].map(|()| {
            let file = file.clone();
            thread::spawn(move || read_or_make(&file).map(|secret| sign(&secret, 1, b"{}")))
        });
        let signatures = makers.map(|maker| maker.join().unwrap().unwrap());
        assert!(signatures.iter().all(|signature| *signature == signatures[0]), "{signatures:?}");
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_holds_no_secret_says_what_to_do_and_not_what_it_holds() {
        let folder = fresh_folder("no-development-secret");
        let file = folder.join("development-secret");
        for (text, why) in [("", "blank"), ("sk_test_1234", "API key")] {
            fs::write(&file, text).unwrap();
            let error = read_or_make(&file).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("delete the file"), "{error}");
            assert!(!error.contains("1234"), "{error}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
