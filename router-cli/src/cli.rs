//! The command line.

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    error::{Error, Exit},
    events::Events,
    inbox::Inbox,
    output::Output,
    sample::Sample,
    scenario::Scenario,
    send::Send,
    sign::Sign,
    verify::Verify,
};

/// Stripe's events, offline: sends them to a webhook server of yours, signed as Stripe signs them, and
/// says why a signature is refused. Looks into a server's inbox. Needs no Stripe account and no network.
#[derive(Parser)]
#[command(
    name = "event-router",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  event-router send payment_intent.succeeded
  event-router send invoice.paid --set amount_paid=500 --repeat 100
  event-router scenario subscription-lifecycle
  event-router events 'invoice.*'
  event-router inbox status

Exit codes:
    0  done: every answer was a 2xx, the signature is right
    1  an answer was no 2xx or says that a handler failed for good; the signature is not right;
       nothing in the inbox could be changed
    2  what was asked for cannot be: an option, an event type, a field, a file, an event
    3  there was no answer: nothing listens, it took too long, or the inbox cannot be used
  130  stopped with Ctrl-C before all was sent, or changed"
)]
pub(crate) struct Cli {
    /// Print JSON, a value to a line, for other programs to read.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Send(Send),
    Scenario(Scenario),
    Sample(Sample),
    Events(Events),
    Sign(Sign),
    Verify(Verify),
    Inbox(Inbox),
    /// Print what makes a shell complete this program's commands and options.
    #[command(
        after_help = "Example: event-router completions bash > /etc/bash_completion.d/event-router"
    )]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

impl Cli {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        match self.command {
            Command::Send(send) => send.run(output).await,
            Command::Scenario(scenario) => scenario.run(output).await,
            Command::Sample(sample) => sample.run(output),
            Command::Events(events) => events.run(output),
            Command::Sign(sign) => sign.run(output),
            Command::Verify(verify) => verify.run(output),
            Command::Inbox(inbox) => inbox.run(output).await,
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "event-router", &mut script);
                output.line(String::from_utf8_lossy(&script).trim_end())?;
                Ok(Exit::Done)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
