//! One pass of the search for missed events.

use router_core::{Event, handler::ErrorChain};
use router_inbox::{Store, store::Operations};
use tower_service::Service as _;

use super::{
    EventBatch, EventList, EventReader, EventSource, Reconcile, ReconcileError, Summary,
    checkpoint::{format_checkpoint, is_in_future, parse_checkpoint},
    connected_accounts,
    lookup::{Lookup, look_up},
    reader::SAFE_AGE,
    telemetry::{self, Outcome},
    thin::{is_named, takes_thin_events},
};

impl<S: Store> Reconcile<S> {
    /// Makes one pass. Cancel safe: the next pass goes on from the checkpoints.
    ///
    /// # Errors
    ///
    /// Fails if a request to Stripe or to the inbox fails, if an endpoint's name is wrong, or if
    /// the last successful pass is too long ago. If only one list cannot be read, the other
    /// accounts and lists are still read, and the first error is returned.
    pub async fn pass(&self) -> Result<Summary, ReconcileError> {
        let mut summary = Summary::default();
        let result = self.read_sources(&mut summary).await;
        telemetry::passed(&summary, result.is_ok());
        result.map(|()| summary)
    }

    async fn read_sources(&self, summary: &mut Summary) -> Result<(), ReconcileError> {
        let store = self.inbox.store().clone();
        let operations = store.operations().ok_or(ReconcileError::NoOperations)?;
        self.check_endpoints(operations).await?;
        let mut accounts = self.accounts.clone();
        let mut result = Ok(());
        if self.has_all_accounts {
            match connected_accounts(&self.client).await {
                Ok(listed) => accounts.extend(listed),
                Err(error) => result = Err(ReconcileError::Accounts(error)),
            }
        }
        for source in self.sources(accounts) {
            match self.read(source, operations, summary).await {
                // An account that has revoked its access must not keep the others from being read.
                Err(error) if error.is_of_one_list() => {
                    tracing::warn!(error = %ErrorChain::new(&error), "a list of events was not read completely; the next search continues it");
                    result = result.and(Err(error));
                }
                other => other?,
            }
        }
        result
    }

    /// Returns the lists of the client's account and of these connected accounts.
    fn sources(&self, mut accounts: Vec<String>) -> Vec<EventSource> {
        accounts.sort();
        accounts.dedup();
        let lists = match takes_thin_events(self.inbox.router()) {
            true => &[EventList::Undelivered, EventList::Thin][..],
            false => &[EventList::Undelivered],
        };
        let connect = self.connect_endpoint.as_ref().unwrap_or(&self.endpoint);
        let sources = |endpoint: &String| {
            let endpoint_of = |list| match list {
                EventList::Thin => self.thin_endpoint.as_ref().unwrap_or(endpoint),
                _ => endpoint,
            };
            lists.iter().map(|list| EventSource::new(*list, endpoint_of(*list))).collect::<Vec<_>>()
        };
        let connected = accounts.iter().flat_map(|account| {
            sources(connect).into_iter().map(move |source| source.account(account))
        });
        sources(&self.endpoint).into_iter().chain(connected).collect()
    }

    /// Reads a source from its checkpoint on.
    async fn read(
        &self,
        source: EventSource,
        operations: &dyn Operations,
        summary: &mut Summary,
    ) -> Result<(), ReconcileError> {
        let name = source.checkpoint_name(&self.client);
        let list = || source.to_string();
        let failed = |error| ReconcileError::Stripe { list: list(), error };
        let checkpoint = match operations.checkpoint(&name).await? {
            None => None,
            Some(value) => match parse_checkpoint(&value) {
                None => return Err(ReconcileError::Checkpoint { name, value }),
                checkpoint => checkpoint,
            },
        };
        let now = self.client.clock().wall();
        let checkpoint = checkpoint.filter(|checkpoint| {
            let is_future = is_in_future(*checkpoint, now);
            if is_future {
                tracing::warn!(
                    checkpoint = name,
                    "the checkpoint is in the future, and is ignored; check the clock of each \
                     machine that searches"
                );
            }
            !is_future
        });
        let mut reader = EventReader::new(&self.client, source.clone())
            .max_age(self.since.unwrap_or(SAFE_AGE))
            .min_age(self.min_age);
        if let Some(checkpoint) = checkpoint {
            reader = reader.since(checkpoint);
        }
        let start = reader.range().await.map_err(failed)?.start;
        let gap = checkpoint.filter(|checkpoint| *checkpoint < start);
        if let (Some(from), Some(_)) = (gap, self.since) {
            telemetry::given_up(&source, from..start);
        }
        // Without a set age, the checkpoint does not pass the gap.
        let gap = gap.filter(|_| self.since.is_none());
        while let Some(batch) = reader.next().await.map_err(failed)? {
            let until = batch.until;
            self.hand_over_batch(&source, batch, operations, summary).await?;
            if gap.is_none() {
                operations.set_checkpoint(&name, &format_checkpoint(until)).await?;
            }
        }
        gap.map_or(Ok(()), |from| Err(ReconcileError::Gap { list: list(), from, until: start }))
    }

    async fn hand_over_batch(
        &self,
        source: &EventSource,
        batch: EventBatch,
        operations: &dyn Operations,
        summary: &mut Summary,
    ) -> Result<(), ReconcileError> {
        for id in &batch.unreadable {
            summary.count(Outcome::Unreadable, id);
        }
        for event in batch.events {
            let id = event.id().to_owned();
            let outcome = self.hand_over(source, event, operations).await?;
            summary.count(outcome, &id);
        }
        Ok(())
    }

    /// Hands an event to the inbox, unless the store has it.
    async fn hand_over(
        &self,
        source: &EventSource,
        event: Event,
        operations: &dyn Operations,
    ) -> Result<Outcome, ReconcileError> {
        // The list of thin events also has those that no destination sends.
        if source.list() == EventList::Thin && !is_named(self.inbox.router(), &event) {
            return Ok(Outcome::Ignored);
        }
        match look_up(operations, &event).await? {
            Lookup::Stored => return Ok(Outcome::Stored),
            Lookup::OtherEndpoint(stored) => {
                tracing::warn!(
                    event.id = event.id(),
                    event.r#type = event.event_type(),
                    endpoint = event.key().endpoint(),
                    account = event.key().account(),
                    stored_endpoint = stored.endpoint,
                    stored_account = stored.account,
                    "an undelivered event is stored for another endpoint or account, and is not \
                     handled again; check the endpoints given to `Reconcile`"
                );
                return Ok(Outcome::OtherEndpoint);
            }
            Lookup::Missing => {}
        }
        // The webhook may have arrived meanwhile, and a thin event may report the change of a
        // stored snapshot event. In both cases the inbox decides for each handler.
        let receipt = self.inbox.clone().call(event).await?;
        Ok(match receipt.stored() {
            Some(stored) if stored.is_duplicate() => Outcome::Stored,
            // New, redelivered to a handler that had no delivery, or replied to.
            _ => Outcome::Missed,
        })
    }
}
