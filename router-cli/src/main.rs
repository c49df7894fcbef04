//! `event-router`: Stripe's events, offline.

mod cli;
mod diagnosis;
mod error;
mod events;
mod inbox;
mod output;
mod progress;
mod sample;
mod scenario;
mod send;
mod sign;
mod synthetic;
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
        // Whoever reads us, `head` for one, has read enough.
        Err(error) if error.is_broken_pipe() => Exit::Done.into(),
        Err(error) => {
            output.error(&error);
            error.exit().into()
        }
    }
}
