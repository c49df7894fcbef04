//! `inbox`: shows and changes the events in a server's inbox.

mod batches;
mod bulk;
mod changes;
mod erase;
mod filter;
pub(crate) mod format;
mod history;
mod list;
mod pause;
mod purge;
mod replay;
mod show;
mod status;
pub(crate) mod store;
mod watch;

use clap::{Args, Subcommand};

use self::{
    changes::{DiscardArgs, RetryArgs},
    erase::EraseArgs,
    list::ListArgs,
    pause::{PauseArgs, ResumeArgs},
    purge::PurgeArgs,
    replay::ReplayArgs,
    show::ShowArgs,
    status::StatusArgs,
    watch::WatchArgs,
};
use crate::{
    error::{Error, Exit},
    output::Output,
};

/// Show, retry, replay, discard or erase the events in an inbox, or pause its handlers
#[derive(Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
An inbox stores each event that Stripe sends, and a delivery of the event for each handler.

States of a delivery:
  waiting    due now or later, or blocked by an older event of the same object
  running    claimed by a server until its lease expires
  done       handled successfully
  ignored    deliberately not handled
  dead       failed permanently or too often: a dead letter, until you retry, replay or discard it
  discarded  given up, or superseded by a replay

Examples:
  event-router inbox status
  event-router inbox list --state dead
  event-router inbox show evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox retry evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox retry --state dead --handler orders.fulfil
  event-router inbox erase --object cus_NffrFeUfNV2Hib --mentioned
  event-router inbox pause orders.fulfil --note 'the warehouse is down until 14:00'

All commands can be used while servers use the inbox."
)]
pub(crate) struct InboxArgs {
    /// URL of the inbox, the same as the server's: `sqlite:FILE`,
    /// `postgres://USER:PASSWORD@HOST:5432/DATABASE` or `nats://USER:PASSWORD@HOST:4222`.
    ///
    /// For NATS JetStream, list the servers of a cluster as `HOST1:4222,HOST2:4222`, append `/NAME`
    /// if the server names its inbox, and use `tls://` to require TLS. Put a URL with a password
    /// into the environment variable: other users of this machine can see command lines.
    #[arg(
        long = "inbox",
        global = true,
        env = "EVENT_ROUTER_INBOX",
        // The URL may contain a password.
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
    Status(StatusArgs),
    List(ListArgs),
    Show(ShowArgs),
    Retry(RetryArgs),
    Replay(ReplayArgs),
    Discard(DiscardArgs),
    Purge(PurgeArgs),
    Erase(EraseArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
    Watch(WatchArgs),
}

impl InboxArgs {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let store = store::open(&self.url).await?;
        match self.command {
            Command::Status(args) => args.run(&*store, output).await,
            Command::List(args) => args.run(&*store, output).await,
            Command::Show(args) => args.run(&*store, output).await,
            Command::Retry(args) => args.run(&*store, output).await,
            Command::Replay(args) => args.run(&*store, output).await,
            Command::Discard(args) => args.run(&*store, output).await,
            Command::Purge(args) => args.run(&*store, output).await,
            Command::Erase(args) => args.run(&*store, &self.url, output).await,
            Command::Pause(args) => args.run(&*store, output).await,
            Command::Resume(args) => args.run(&*store, output).await,
            Command::Watch(args) => args.run(&*store, output).await,
        }
    }
}
