//! The source from which the new crate takes the framework's crates.
//!
//! Until the crates are published, a version number would be wrong: on crates.io, `router-core` is
//! an unrelated crate. A user has cloned the repository and has installed this command from it, so
//! the clone is the default. Docker and CI cannot see a folder of this machine, which is why a Git
//! URL is the other choice. Once the packages have their final names (see RELEASING.md), a command
//! that was installed from crates.io uses the version.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::error::Error;

/// The folder of this package when it was compiled.
const THIS_PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// `true` if the packages have the names with which they are published.
const IS_RENAMED: bool = !matches!(env!("CARGO_PKG_NAME").as_bytes(), b"router-cli");

/// The crates that the new crate uses, each with the name of its package on crates.io.
const CRATES: [(&str, &str); 2] =
    [("router-core", "stripe-event-router"), ("router-inbox", "stripe-event-router-inbox")];

/// The source of the framework's crates.
pub(super) enum Framework {
    Folder(Checkout),
    /// The URL of a Git repository.
    Git(String),
    /// The version on crates.io.
    Published(&'static str),
}

/// A folder with the framework's repository.
pub(super) struct Checkout {
    path: PathBuf,
    /// The same path as text.
    text: String,
}

impl Framework {
    /// Parses the value of `--framework`.
    ///
    /// # Errors
    ///
    /// Fails if the text is neither a URL nor a folder with the framework's repository.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Usage(format!("--framework: {reason}"));
        if text.contains("://") {
            if text.contains(|char: char| char.is_whitespace() || char.is_control()) {
                return Err(refuse("the URL contains a space or a control character".into()));
            }
            if has_credentials(text) {
                return Err(refuse(
                    "the URL contains a password or a token, which Cargo.toml would disclose; remove \
                     it from the URL and store it in Git's credential helper, which cargo asks"
                        .into(),
                ));
            }
            return Ok(Self::Git(text.to_owned()));
        }
        Checkout::open(Path::new(text)).map(Self::Folder).map_err(|reason| {
            refuse(format!(
                "{reason}; expected the folder of the framework's repository, or a Git URL such as \
                 `https://…` or `ssh://git@…`"
            ))
        })
    }

    /// Returns the source that belongs to this program.
    ///
    /// # Errors
    ///
    /// Fails if the crates are not published and the folder from which this program was installed
    /// no longer exists.
    pub(super) fn from_this_program() -> Result<Self, Error> {
        Self::from_package(Path::new(THIS_PACKAGE), IS_RENAMED)
    }

    fn from_package(package: &Path, is_renamed: bool) -> Result<Self, Error> {
        let repository = package.parent().unwrap_or(package);
        match Checkout::open(repository) {
            Ok(checkout) => Ok(Self::Folder(checkout)),
            Err(_) if is_renamed => Ok(Self::Published(env!("CARGO_PKG_VERSION"))),
            Err(reason) => Err(Error::Usage(format!(
                "the framework is not published, and the repository from which this command was \
                 installed is gone: {reason}; pass its new folder or its Git URL with --framework"
            ))),
        }
    }

    /// Returns the keys of the dependency on a crate, in TOML.
    pub(super) fn dependency(&self, name: &str) -> String {
        let published = CRATES.iter().find(|(of_repository, _)| *of_repository == name);
        let (_, published) = published.expect("template uses only these crates");
        let (source, is_renamed) = match self {
            Self::Folder(checkout) => {
                let path = format!("{}/{name}", checkout.text.trim_end_matches(['/', '\\']));
                let is_renamed = package_name(&checkout.path.join(name)).is_ok_and(|n| n != name);
                (format!("path = {}", quoted(&path)), is_renamed)
            }
            Self::Git(url) => (format!("git = {}", quoted(url)), IS_RENAMED),
            Self::Published(version) => (format!("version = {}", quoted(version)), true),
        };
        match is_renamed {
            true => format!("package = {}, {source}", quoted(published)),
            false => source,
        }
    }

    /// Returns the comment on the dependencies, or nothing if they need none.
    pub(super) fn comment(&self) -> &'static str {
        match self {
            Self::Folder(_) => {
                "# A folder of this machine, which Docker and CI cannot see. See \"Go live\" in README.md.\n"
            }
            Self::Git(_) => {
                "# Cargo.lock has the commit, and `cargo update` takes the latest one.\n"
            }
            Self::Published(_) => "",
        }
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(checkout) => f.write_str(&checkout.text),
            Self::Git(url) => f.write_str(url),
            Self::Published(_) => f.write_str("crates.io"),
        }
    }
}

impl Checkout {
    /// Opens a folder.
    ///
    /// # Errors
    ///
    /// Fails with a text if the folder does not contain the framework's crates.
    fn open(folder: &Path) -> Result<Self, String> {
        let in_folder = |reason: &dyn fmt::Display| format!("{}: {reason}", folder.display());
        // On Windows, this is a path that cargo does not accept.
        let path = match cfg!(windows) {
            true => std::path::absolute(folder),
            false => fs::canonicalize(folder),
        };
        let path = path.map_err(|error| in_folder(&error))?;
        for (name, published) in CRATES {
            match package_name(&path.join(name)) {
                Ok(found) if found == name || found == published => {}
                Ok(_) => return Err(in_folder(&format_args!("{name} is another crate"))),
                Err(error) => {
                    return Err(in_folder(&format_args!("no crate `{name}` there: {error}")));
                }
            }
        }
        let text = path.to_str().ok_or_else(|| in_folder(&"the path is not UTF-8"))?.to_owned();
        Ok(Self { path, text })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns whether a URL contains a password, or for HTTP a user's name, which can be a token. For
/// SSH, the user's name is that of an account on the server, such as `git`.
fn has_credentials(url: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':') || scheme.to_ascii_lowercase().starts_with("http"))
}

/// Reads the name of the package in a folder.
fn package_name(folder: &Path) -> io::Result<String> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    Ok(name.unwrap_or_default().to_owned())
}

/// Quotes a text for TOML, whose basic strings have the escapes of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a repository whose packages have these names.
    fn repository(names: [&str; 2]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for ((name, _), package) in CRATES.iter().zip(names) {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            let manifest = format!("[package]\nname = \"{package}\"\n");
            fs::write(folder.path().join(name).join("Cargo.toml"), manifest).unwrap();
        }
        folder
    }

    #[test]
    fn program_from_a_repository_uses_its_folder() {
        let folder = repository(["router-core", "router-inbox"]);
        let root = fs::canonicalize(folder.path()).unwrap().display().to_string();
        let package = folder.path().join("router-cli");
        for is_renamed in [false, true] {
            let framework = Framework::from_package(&package, is_renamed).unwrap();
            let path = format!("path = \"{root}/router-core\"");
            assert_eq!(framework.dependency("router-core"), path);
        }
    }

    #[test]
    fn renamed_package_of_a_folder_is_named() {
        let folder = repository(["stripe-event-router", "stripe-event-router-inbox"]);
        let root = fs::canonicalize(folder.path()).unwrap().display().to_string();
        let framework = Framework::parse(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(
            framework.dependency("router-inbox"),
            format!("package = \"stripe-event-router-inbox\", path = \"{root}/router-inbox\"")
        );
    }

    #[test]
    fn program_without_its_repository_uses_the_version_once_published() {
        let package = Path::new("/nowhere/stripe-event-router-cli-0.1.0");
        let framework = Framework::from_package(package, true).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            framework.dependency("router-core"),
            format!("package = \"stripe-event-router\", version = \"{version}\"")
        );
        let error = Framework::from_package(package, false).err().unwrap().to_string();
        assert!(error.starts_with("the framework is not published, and the repository"), "{error}");
        assert!(error.ends_with("pass its new folder or its Git URL with --framework"), "{error}");
    }

    #[test]
    fn source_is_a_url_or_a_repository() {
        let url = "https://git.example/event-router.git";
        let framework = Framework::parse(url).unwrap();
        assert_eq!(framework.dependency("router-core"), format!("git = \"{url}\""));
        let (empty, other) = (tempfile::tempdir().unwrap(), repository(["router-core", "axum"]));
        for (source, reason) in [
            ("/nowhere", "--framework: /nowhere: No such file"),
            ("git@git.example:event-router", "or a Git URL such as `https://…` or `ssh://git@…`"),
            ("https://git.example/a b", "the URL contains a space or a control character"),
            (empty.path().to_str().unwrap(), ": no crate `router-core` there: No such file"),
            (other.path().to_str().unwrap(), ": router-inbox is another crate; expected"),
        ] {
            let error = Framework::parse(source).err().unwrap().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn url_with_credentials_is_refused_without_showing_them() {
        for url in [
            "https://me:hunter2@git.example/event-router.git",
            "https://hunter2@git.example/event-router.git",
            "HTTPS://hunter2@git.example",
            "ssh://git:hunter2@git.example/event-router.git",
            "https://me:hunter2@x@git.example?a@b",
        ] {
            let error = Framework::parse(url).err().unwrap().to_string();
            assert!(error.contains("contains a password or a token"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        for url in ["ssh://git@git.example/e.git", "https://git.example/@me:e", "file:///e"] {
            assert!(Framework::parse(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        assert_eq!(quoted(r#"C:\my "shop""#), r#""C:\\my \"shop\"""#);
    }
}
