//! The files of the new crate. In `template/`, the crate is called `my-shop`.

use std::{fs, io, path::Path, process};

use super::{framework::Framework, name::CrateName};
use crate::error::Error;

/// The path of each file, and its text. Some have other names in `template/`: cargo does not
/// package a folder with a `Cargo.toml`, and a `.gitignore` would apply to this repository.
const FILES: [(&str, &str); 11] = [
    ("Cargo.toml", MANIFEST),
    ("README.md", include_str!("template/README.md")),
    (".gitignore", include_str!("template/gitignore.txt")),
    ("src/lib.rs", include_str!("template/src/lib.rs")),
    ("src/main.rs", include_str!("template/src/main.rs")),
    ("src/payments.rs", include_str!("template/src/payments.rs")),
    ("tests/payments.rs", include_str!("template/tests/payments.rs")),
    ("tests/registered.rs", include_str!("template/tests/registered.rs")),
    ("Dockerfile", include_str!("template/Dockerfile")),
    ("my-shop.service", include_str!("template/service.txt")),
    (".github/workflows/ci.yml", include_str!("template/ci.yml")),
];

const MANIFEST: &str = include_str!("template/Cargo.toml.txt");

/// Writes the crate into a new folder. If this fails, the folder does not exist.
///
/// # Errors
///
/// Fails if the folder exists and is not empty, or if a file cannot be written.
pub(super) fn write(parent: &Path, name: &CrateName, framework: &Framework) -> Result<(), Error> {
    let folder = parent.join(name.as_str());
    let shown = folder.display();
    let refuse = |reason: String| Error::Usage(format!("cannot make {shown}: {reason}"));
    match fs::symlink_metadata(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refuse(error.to_string())),
        Ok(_) if is_empty_folder(&folder) => {}
        Ok(_) => {
            return Err(refuse(
                "it exists, and is not an empty folder; choose another name, or move it away"
                    .into(),
            ));
        }
    }
    // The files get their place all at once, so that an error leaves none.
    let unfinished = parent.join(format!(".{}.{}.unfinished", name.as_str(), process::id()));
    let made = write_files(&unfinished, name, framework).and_then(|()| {
        if cfg!(windows) && folder.exists() {
            fs::remove_dir(&folder)?; // On Windows, no folder can replace another one.
        }
        fs::rename(&unfinished, &folder)
    });
    made.map_err(|error| {
        drop(fs::remove_dir_all(&unfinished));
        refuse(error.to_string())
    })
}

/// Returns the dependencies of the new crate.
pub(super) fn dependencies() -> impl Iterator<Item = &'static str> {
    MANIFEST
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
}

fn is_empty_folder(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn write_files(folder: &Path, name: &CrateName, framework: &Framework) -> io::Result<()> {
    fs::create_dir(folder)?;
    for (path, text) in FILES {
        let path = folder.join(with_name(path, name));
        fs::create_dir_all(path.parent().expect("file is in the folder"))?;
        let text = match text {
            MANIFEST => with_framework(&with_name(text, name), framework),
            _ => with_name(text, name),
        };
        fs::write(path, text)?;
    }
    Ok(())
}

/// Replaces the name of the crate.
fn with_name(text: &str, name: &CrateName) -> String {
    // In this order: a name in Rust has no hyphen, so it contains no `my-shop`.
    text.replace("my_shop", &name.library_name()).replace("my-shop", name.as_str())
}

/// Sets the source of the framework's crates.
fn with_framework(manifest: &str, framework: &Framework) -> String {
    manifest
        .replace("# FRAMEWORK\n", framework.comment())
        .replace("ROUTER_CORE", &framework.dependency("router-core"))
        .replace("ROUTER_INBOX", &framework.dependency("router-inbox"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_replaced_once() {
        let replaced = |name: &str| {
            let name = CrateName::parse(name).expect("name is valid");
            with_name("my-shop: my_shop::PLUGIN, my-shop.service", &name)
        };
        assert_eq!(replaced("my-shop"), "my-shop: my_shop::PLUGIN, my-shop.service");
        assert_eq!(replaced("fish"), "fish: fish::PLUGIN, fish.service");
        // Names that contain that of the template.
        assert_eq!(replaced("my-shop-2"), "my-shop-2: my_shop_2::PLUGIN, my-shop-2.service");
        assert_eq!(replaced("my_shop_2"), "my_shop_2: my_shop_2::PLUGIN, my_shop_2.service");
    }

    #[test]
    fn dependencies_are_those_of_the_manifest() {
        let found: Vec<&str> = dependencies().collect();
        assert_eq!(
            found,
            [
                "router-core",
                "router-inbox",
                "axum",
                "clap",
                "serde",
                "serde_json",
                "tokio",
                "tracing",
                "tracing-subscriber"
            ]
        );
    }
}
