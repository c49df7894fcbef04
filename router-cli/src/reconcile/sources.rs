//! The lists of events at Stripe, and the server that receives their events.

use clap::Args;
use router_stripe::{
    Client,
    reconcile::{EventList, EventSource, connected_accounts},
};

use super::PERMISSIONS;
use crate::{
    error::Error,
    send::{Sender, signature_help},
    stripe::explain,
    target::Target,
};

/// Options that select the lists of events.
#[derive(Args)]
pub(super) struct SourceOptions {
    /// Read the events of this connected account too. Repeatable.
    #[arg(long, value_name = "ACCOUNT", value_parser = parse_account)]
    account: Vec<String>,

    /// Read the events of all connected accounts too.
    #[arg(long, conflicts_with = "account")]
    all_accounts: bool,

    /// Name of the endpoint for the events of connected accounts, and of its secret; by default the
    /// second name of the secret (as in `platform+connect=whsec_…`), or else that for the account's
    /// own events.
    #[arg(long, value_name = "NAME")]
    connect_endpoint: Option<String>,

    /// Name of the endpoint for thin events, and of its secret; by default that of the snapshot
    /// events of the same account.
    #[arg(long, value_name = "NAME", requires = "thin")]
    thin_endpoint: Option<String>,

    /// Read thin events too: all of them, because Stripe does not list the undelivered ones.
    #[arg(long)]
    pub(super) thin: bool,

    /// Read all snapshot events, also delivered ones, for an inbox restored from a backup.
    #[arg(long, conflicts_with = "follow")]
    pub(super) all: bool,
}

fn parse_account(text: &str) -> Result<String, String> {
    if text.starts_with("acct_") {
        return Ok(text.to_owned());
    }
    Err("expected the id of an account, as in `acct_1NG8Du2eZvKYlo2C`".to_owned())
}

impl SourceOptions {
    /// Returns the lists that are searched for missed events.
    pub(super) async fn catch_up(
        &self,
        endpoints: &ServerEndpoints,
        client: &Client,
    ) -> Result<Vec<EventSource>, Error> {
        let snapshots = if self.all { EventList::Snapshot } else { EventList::Undelivered };
        self.sources(snapshots, endpoints, client).await
    }

    /// Returns the lists of all events, for `--follow`.
    pub(super) async fn follow(
        &self,
        endpoints: &ServerEndpoints,
        client: &Client,
    ) -> Result<Vec<EventSource>, Error> {
        self.sources(EventList::Snapshot, endpoints, client).await
    }

    async fn sources(
        &self,
        snapshots: EventList,
        endpoints: &ServerEndpoints,
        client: &Client,
    ) -> Result<Vec<EventSource>, Error> {
        let lists = match self.thin {
            true => &[snapshots, EventList::Thin][..],
            false => &[snapshots],
        };
        let mut accounts = match self.all_accounts {
            true => {
                let accounts = connected_accounts(client).await;
                accounts.map_err(|error| explain(&error, PERMISSIONS))?
            }
            false => self.account.clone(),
        };
        accounts.sort();
        accounts.dedup();
        let own = lists.iter().map(|list| EventSource::new(*list, endpoints.name(*list, false)));
        let connected = accounts.iter().flat_map(|account| {
            lists.iter().map(move |list| {
                EventSource::new(*list, endpoints.name(*list, true)).account(account)
            })
        });
        Ok(own.chain(connected).collect())
    }
}

/// The server's endpoints for the account's own events and for those of connected accounts.
pub(super) struct ServerEndpoints {
    own: ServerEndpoint,
    connected: ServerEndpoint,
    own_thin: ServerEndpoint,
    connected_thin: ServerEndpoint,
}

/// An endpoint of the server.
pub(super) struct ServerEndpoint {
    /// The name under which the server receives the events.
    name: String,
    pub(super) sender: Sender,
    secret_is_given: bool,
}

impl ServerEndpoints {
    pub(super) fn open(target: &Target, options: &SourceOptions) -> Result<Self, Error> {
        let own = target.secret.endpoint.as_deref();
        let connected = options.connect_endpoint.as_deref().or(own);
        let thin = options.thin_endpoint.as_deref();
        Ok(Self {
            own: ServerEndpoint::open(target, own, false)?,
            connected: ServerEndpoint::open(target, connected, true)?,
            own_thin: ServerEndpoint::open(target, thin.or(own), false)?,
            connected_thin: ServerEndpoint::open(target, thin.or(connected), true)?,
        })
    }

    /// Returns the endpoint that receives the events of this list.
    pub(super) fn of(&self, source: &EventSource) -> &ServerEndpoint {
        self.find(source.list(), source.connected_account().is_some())
    }

    fn name(&self, list: EventList, is_connected: bool) -> &str {
        &self.find(list, is_connected).name
    }

    fn find(&self, list: EventList, is_connected: bool) -> &ServerEndpoint {
        match (list, is_connected) {
            (EventList::Thin, false) => &self.own_thin,
            (EventList::Thin, true) => &self.connected_thin,
            (_, false) => &self.own,
            (_, true) => &self.connected,
        }
    }
}

impl ServerEndpoint {
    fn open(target: &Target, name: Option<&str>, is_connected: bool) -> Result<Self, Error> {
        let (secret, secret_is_given) = target.secret.resolve_for(name)?;
        // The server takes the name from its secret. The development secret has no name of its own.
        let name = match name {
            Some(name) if !secret_is_given => name.to_owned(),
            _ => {
                let connect = secret.connect_endpoint().filter(|_| is_connected);
                connect.unwrap_or(secret.endpoint()).to_string()
            }
        };
        Ok(Self { name, sender: Sender::new(target, secret)?, secret_is_given })
    }

    /// Describes the secret that the server did not accept.
    pub(super) fn signature_help(&self) -> String {
        signature_help(self.sender.url(), self.secret_is_given)
    }
}
