//! The command line: global options and subcommands.

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    doctor::DoctorArgs,
    error::{Error, Exit},
    events::EventsArgs,
    inbox::InboxArgs,
    new::NewArgs,
    output::Output,
    reconcile::ReconcileArgs,
    sample::SampleArgs,
    scenario::ScenarioArgs,
    send::SendArgs,
    sign::SignArgs,
    verify::VerifyArgs,
};

/// Make a Stripe webhook server, test it offline, and operate its inbox.
///
/// Makes the crate of a webhook server; sends events to your server, signed as Stripe signs them;
/// explains why a signature is rejected; and shows, retries, replays and discards the events in a
/// server's inbox, and pauses its handlers. Only `reconcile` and `doctor` need a Stripe account.
#[derive(Parser)]
#[command(
    name = "event-router",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  event-router new my-shop
  event-router send payment_intent.succeeded
  event-router send invoice.paid --set amount_paid=500 --repeat 100
  event-router scenario subscription-lifecycle
  event-router events 'invoice.*'
  event-router inbox status
  event-router reconcile --inbox sqlite:inbox.db --to https://shop.example/webhook
  event-router doctor --routes routes.json

Exit codes:
    0  success: every answer was 2xx, the signature is valid, the inbox was read or changed
    1  an answer was not 2xx or reports a dead letter; the signature is invalid;
       nothing in the inbox was changed, or its data is damaged; `doctor` has found a fault;
       `reconcile` could not hand over an event
    2  invalid request: unknown option, event type, field, file or event; wrong --inbox
    3  no answer: nothing listens, the request timed out, the inbox is unavailable or busy, or
       Stripe refused the API key
  130  interrupted with Ctrl-C before everything was sent or changed"
)]
pub(crate) struct Cli {
    /// Print JSON, one value per line.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    New(NewArgs),
    Send(SendArgs),
    Scenario(ScenarioArgs),
    Sample(SampleArgs),
    Events(EventsArgs),
    Sign(SignArgs),
    Verify(VerifyArgs),
    Inbox(InboxArgs),
    Reconcile(ReconcileArgs),
    Doctor(DoctorArgs),
    /// Generate a shell completion script
    #[command(after_help = "\
Examples:
  event-router completions bash > /etc/bash_completion.d/event-router
  event-router completions fish > ~/.config/fish/completions/event-router.fish")]
    Completions {
        /// Shell to generate the script for.
        shell: Shell,
    },
}

impl Cli {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        match self.command {
            Command::New(args) => args.run(output),
            Command::Send(args) => args.run(output).await,
            Command::Scenario(args) => args.run(output).await,
            Command::Sample(args) => args.run(output),
            Command::Events(args) => args.run(output),
            Command::Sign(args) => args.run(output),
            Command::Verify(args) => args.run(output),
            Command::Inbox(args) => args.run(output).await,
            Command::Reconcile(args) => args.run(output).await,
            Command::Doctor(args) => args.run(output).await,
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "event-router", &mut script);
                output.line(String::from_utf8_lossy(&script).trim_end())?;
                Ok(Exit::Success)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use clap::error::{ContextKind, ContextValue, ErrorKind};

    use super::*;

    #[test]
    fn command_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_in_documents_are_valid() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let mut commands = 0;
        for folder in ["", "docs", "docs/guide", "docs/observability"] {
            for file in fs::read_dir(Path::new(root).join(folder)).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_none_or(|extension| extension != "md") {
                    continue;
                }
                for command in commands_of(&fs::read_to_string(&path).unwrap()) {
                    commands += 1;
                    let parsed = Cli::try_parse_from(words(&command)).err();
                    // The user has the secret in the environment, and the test may not.
                    if let Some(error) = parsed.filter(|error| !lacks_only_the_secret(error)) {
                        panic!("{}: {command}\n{error}", path.display());
                    }
                }
            }
        }
        assert!(commands > 30, "only {commands} commands were found");
    }

    fn lacks_only_the_secret(error: &clap::Error) -> bool {
        let missing = error.get(ContextKind::InvalidArg);
        let secret = ContextValue::Strings(vec!["--secret <SECRET>".to_owned()]);
        error.kind() == ErrorKind::MissingRequiredArgument && missing == Some(&secret)
    }

    /// Returns the commands in the code blocks of a page.
    fn commands_of(page: &str) -> Vec<String> {
        let blocks = page.split("```").skip(1).step_by(2);
        let lines = blocks.flat_map(|block| {
            let joined = block.replace("\\\n", " ");
            joined
                .lines()
                .map(|line| line.trim().trim_start_matches("$ ").to_owned())
                .collect::<Vec<_>>()
        });
        lines.filter(|line| line.starts_with("event-router ")).collect()
    }

    /// Splits a command into words, as a shell does. A comment ends the command.
    fn words(command: &str) -> Vec<String> {
        let (mut words, mut quote) = (vec![String::new()], None);
        for character in command.chars() {
            let word = words.last_mut().expect("there is always a word");
            match (quote, character) {
                (None, '#') if word.is_empty() => break,
                (None, '\'' | '"') => quote = Some(character),
                (Some(open), _) if character == open => quote = None,
                (None, ' ') if word.is_empty() => {}
                (None, ' ') => words.push(String::new()),
                _ => word.push(character),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }
}
