//! `inbox`: what is in a server's inbox, and what to do about it.

mod batches;
mod changes;
mod list;
mod purge;
mod replay;
mod show;
mod status;
mod store;
mod watch;
mod words;

use clap::{Args, Subcommand};

use self::{
    changes::{Discard, Retry},
    list::List,
    purge::Purge,
    replay::Replay,
    show::Show,
    status::Status,
    watch::Watch,
};
use crate::{
    error::{Error, Exit},
    output::Output,
};

/// Look into a server's inbox, and retry, replay or discard what is in it
#[derive(Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
An inbox keeps each event that Stripe has sent, and a delivery of it for each handler. A
delivery waits, runs, and is then done, or ignored, or tried again later. One that has failed
for good is dead, and stays until somebody retries, replays or discards it.

Examples:
  event-router inbox status
  event-router inbox list --state dead
  event-router inbox show evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox retry evt_1NG8Du2eZvKYlo2CUI79vXWy

All of it can be done while a server uses the inbox."
)]
pub(crate) struct Inbox {
    /// The inbox, as its server opens it: `sqlite:FILE`, `postgres://USER:PASSWORD@HOST:5432/DATABASE`, or
    /// `nats://USER:PASSWORD@HOST:4222`.
    ///
    /// In NATS JetStream several servers of one cluster are separated by commas, `HOST1:4222,HOST2:4222`; a name follows
    /// after a `/` where the server gives its inbox one; and `tls://` demands TLS. A password is better in the
    /// environment: others on the machine can see a command line.
    #[arg(
        long = "inbox",
        global = true,
        env = "EVENT_ROUTER_INBOX",
        // It may have a password in it.
        hide_env_values = true,
        value_name = "URL",
        default_value = "sqlite:inbox.db"
    )]
    url: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Status(Status),
    List(List),
    Show(Show),
    Retry(Retry),
    Replay(Replay),
    Discard(Discard),
    Purge(Purge),
    Watch(Watch),
}

impl Inbox {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let store = store::open(&self.url).await?;
        match self.command {
            Command::Status(status) => status.run(&*store, output).await,
            Command::List(list) => list.run(&*store, output).await,
            Command::Show(show) => show.run(&*store, output).await,
            Command::Retry(retry) => retry.run(&*store, output).await,
            Command::Replay(replay) => replay.run(&*store, output).await,
            Command::Discard(discard) => discard.run(&*store, output).await,
            Command::Purge(purge) => purge.run(&*store, output).await,
            Command::Watch(watch) => watch.run(&*store, output).await,
        }
    }
}
