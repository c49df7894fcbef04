//! `new`: makes a crate with a webhook server.

mod framework;
mod name;
mod template;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use self::{framework::Framework, name::CrateName};
use crate::{
    error::{Error, Exit},
    output::Output,
};

/// Make a crate with a webhook server that is ready to go live
///
/// The crate has a server with an inbox in SQLite, a handler with a test, and files for Docker,
/// systemd and GitHub's CI. Its README.md explains how to run the server and how to go live.
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router new my-shop
  event-router new my-shop --framework ../event-router
  event-router new my-shop --framework https://git.example/event-router.git

The crate is made in the current folder. If that fails, nothing is written.")]
pub(crate) struct NewArgs {
    /// Name of the crate and of its folder, such as `my-shop`.
    name: String,

    /// Source of the framework's crates: the folder of its repository, or the URL of a Git
    /// repository.
    ///
    /// By default, the folder from which this command was installed, if it still exists. A folder
    /// is a good choice on this machine. With a URL, the crate also builds in Docker and in CI.
    #[arg(long, value_name = "FOLDER|URL")]
    framework: Option<String>,
}

impl NewArgs {
    pub(crate) fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let name = CrateName::parse(&self.name)?;
        let framework = match &self.framework {
            Some(source) => Framework::parse(source)?,
            None => Framework::from_this_program()?,
        };
        let here = env::current_dir()
            .map_err(|error| Error::Usage(format!("the current folder: {error}")))?;
        refuse_inside(&framework, &here, name.as_str())?;
        template::write(&here, &name, &framework)?;
        if output.json {
            let folder = here.join(name.as_str());
            output.json(&CreatedCrate {
                name: name.as_str(),
                folder: folder.display().to_string(),
                framework: framework.to_string(),
            })?;
        } else {
            output.line(next_steps(name.as_str(), &framework))?;
            if let Some(root) = workspace_around(&here) {
                output.line(workspace_note(&root, &here.join(name.as_str())))?;
            }
        }
        Ok(Exit::Success)
    }
}

#[derive(Serialize)]
struct CreatedCrate<'a> {
    name: &'a str,
    folder: String,
    framework: String,
}

/// Fails in the framework's repository, whose settings of rustfmt and clippy would apply to the
/// crate.
fn refuse_inside(framework: &Framework, here: &Path, name: &str) -> Result<(), Error> {
    match framework {
        Framework::Folder(checkout) if here.starts_with(checkout.path()) => {
            let outside = checkout.path().parent().unwrap_or(checkout.path()).display();
            Err(Error::Usage(format!(
                "this folder is in the framework's repository; make the crate in another one, for \
                 example: `cd {outside} && event-router new {name}`"
            )))
        }
        _ => Ok(()),
    }
}

/// Returns the folder of the cargo workspace around a folder.
fn workspace_around(folder: &Path) -> Option<PathBuf> {
    let is_workspace = |folder: &&Path| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim_start().starts_with("[workspace"))
    };
    folder.ancestors().find(is_workspace).map(Path::to_owned)
}

/// The crate is a workspace of its own. If the one around it has it as a member, for example by
/// `members = ["crates/*"]`, each command of cargo fails there.
fn workspace_note(root: &Path, made: &Path) -> String {
    let manifest = root.join("Cargo.toml");
    let made = made.strip_prefix(root).unwrap_or(made).display().to_string().replace('\\', "/");
    format!(
        "\n{} is a workspace. If its `members` match the new folder, cargo fails there with \
         \"multiple workspace roots\": add `exclude = [\"{made}\"]` to its `[workspace]`.",
        manifest.display()
    )
}

fn next_steps(name: &str, framework: &Framework) -> String {
    format!(
        "made {name}, a webhook server with an inbox in SQLite. Next:\n\
         \n    \
             cd {name}\n    \
             cargo run                                     # the first build takes a few minutes\n    \
             event-router send payment_intent.succeeded    # in another terminal\n\
         \n\
         Its Cargo.toml takes the framework from {framework}. README.md explains how to go live."
    )
}
