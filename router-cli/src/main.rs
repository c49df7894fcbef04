//! `event-router`: makes a webhook server, sends test events to it, verifies signatures and
//! operates an inbox.

mod body_file;
mod cli;
mod diagnosis;
mod doctor;
mod error;
mod event_options;
mod events;
mod inbox;
mod interrupt;
mod new;
mod output;
mod progress;
mod reconcile;
mod sample;
mod scenario;
mod send;
mod sign;
mod stripe;
mod target;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{cli::Cli, error::Exit, output::Output};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut output = Output::new(cli.json);
    match cli.run(&mut output).await {
        Ok(exit) => exit.into(),
        // The reader of a pipe, `head` for example, has read enough. This is not a failure.
        Err(error) if error.is_broken_pipe() => Exit::Success.into(),
        Err(error) => {
            output.error(&error);
            error.exit().into()
        }
    }
}
