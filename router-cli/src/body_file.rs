//! Files with a request body, and standard input.

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _},
    path::Path,
};

use clap::Args;

use crate::{error::Error, output::Output};

/// The argument of `sign` and `verify` for the request body.
#[derive(Args)]
pub(crate) struct BodyFile {
    /// File with the request body; `-` reads standard input.
    #[arg(default_value = "-")]
    pub(crate) file: String,
}

impl BodyFile {
    pub(crate) fn read(&self, output: &mut Output) -> Result<Vec<u8>, Error> {
        read(&self.file, output)
    }
}

/// Reads a file, or standard input if its name is `-`.
pub(crate) fn read(file: &str, output: &mut Output) -> Result<Vec<u8>, Error> {
    if file == "-" && io::stdin().is_terminal() {
        output.note("reading standard input; end it with Ctrl-D on an empty line");
    }
    let mut bytes = Vec::new();
    let read = match file {
        "-" => io::stdin().read_to_end(&mut bytes).map(|_| bytes),
        file => fs::read(Path::new(file)),
    };
    read.map_err(|error| match file {
        "-" => Error::Usage(format!("cannot read standard input: {error}")),
        file => Error::Usage(format!("cannot read {file}: {error}")),
    })
}
