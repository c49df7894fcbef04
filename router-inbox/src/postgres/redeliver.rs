//! Applies the redelivery of events that are already stored.

use std::{collections::BTreeSet, slice::from_ref};

use router_core::{Event, event::StoredEvent};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{
    PostgresStore,
    claims::stored_event,
    number,
    schema::Schema,
    writes::{
        NewRow, insert_deliveries, lane, lock_lanes, notify, replace_nul, signed_at, unblock_next,
    },
};
use crate::store::{
    DeliveryState, NewDelivery, NewEvent, OrderKey, Redelivery, Stored, identity::identity,
    number::delivery_number, rows::state,
};

/// Applies redeliveries in a transaction of its own, and returns one result each.
///
/// Locks in the order that `writes.rs` describes: the events, the lanes, and then deliveries. Fails
/// if one of the events has been purged; the caller can store it again.
pub(super) async fn redeliver(
    store: &PostgresStore,
    events: &[&NewEvent],
) -> sqlx::Result<Vec<Stored>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let events: Vec<Incoming> = events.iter().map(|new| (&new.event, &*new.deliveries)).collect();
    // Most redeliveries change nothing. They cost one read, and lock nothing.
    let found = find(&mut *store.pool.acquire().await?, &store.schema, &events).await?;
    if let Some(unchanged) = found.iter().map(Found::unchanged).collect() {
        return Ok(unchanged);
    }
    let mut write = store.pool.begin().await?;
    lock_events(&mut write, &store.schema, &events).await?;
    // Read again, because the states may have changed before the events were locked.
    let found = find(&mut write, &store.schema, &events).await?;
    let mut redelivered = Vec::with_capacity(events.len());
    let mut lanes = BTreeSet::new();
    for (event, found) in events.into_iter().zip(&found) {
        let event = Redelivered::new(&mut write, store, event, found.event).await?;
        lanes.extend(event.lanes(found));
        redelivered.push(event);
    }
    lock_lanes(&mut write, &store.schema, &lanes).await?;
    lock_unfinished(&mut write, &store.schema, &found).await?;
    let mut results = Vec::with_capacity(redelivered.len());
    // One by one, because the events of one call can be redeliveries of the same event.
    for event in redelivered {
        results.push(event.apply(&mut write).await?);
    }
    unblock_next(&mut write, &store.schema, &lanes).await?;
    write.commit().await?;
    Ok(results)
}

/// A redelivered event, and its deliveries.
type Incoming<'e> = (&'e Event, &'e [NewDelivery]);

/// The stored event of a redelivery.
struct Found {
    /// The id of the stored event.
    event: i64,
    /// `true` if the event was received with this id before. A thin event and its snapshot event
    /// have different ids.
    is_id_known: bool,
    /// `true` if the event's data was erased. Then the redelivery stores nothing.
    is_erased: bool,
    /// The handlers' latest deliveries, in the order of the redelivery.
    latest: Vec<Option<Latest>>,
}

/// The handler's delivery of the latest generation that has one.
struct Latest {
    id: i64,
    state: DeliveryState,
    lane: Option<i64>,
}

impl Found {
    /// Returns the result, unless something has to be changed.
    fn unchanged(&self) -> Option<Stored> {
        let unchanged = self.latest.iter().map(|latest| match latest {
            None if self.is_erased => Some(Redelivery::Erased),
            Some(Latest { state, .. }) if is_settled(*state) => Some(Redelivery::Unchanged(*state)),
            _ => None,
        });
        let unchanged = unchanged.collect::<Option<Vec<_>>>();
        unchanged.filter(|_| self.is_id_known || self.is_erased).map(Stored::Redelivered)
    }
}

/// Returns whether a redelivery changes nothing about a delivery in this state.
fn is_settled(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Done | DeliveryState::Ignored | DeliveryState::Discarded)
}

/// Locks all generations of these events until the transaction ends, against operations and other
/// redeliveries.
///
/// The rows must be read by a later statement, because this one does not see changes by the
/// transactions that it waited for.
async fn lock_events(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[Incoming<'_>],
) -> sqlx::Result<()> {
    let identities: Vec<_> = events.iter().map(|(event, _)| identity(&event.key())).collect();
    let lock = sqlx::query(
        schema
            .sql("select from inbox.events where identity = any($1) order by id for no key update"),
    );
    let identities = identities.iter().map(|identity| &identity[..]).collect::<Vec<_>>();
    lock.bind(identities).execute(write).await?;
    Ok(())
}

/// Locks the unfinished deliveries by id, against workers that complete them or renew their leases.
async fn lock_unfinished(
    write: &mut PgConnection,
    schema: &Schema,
    found: &[Found],
) -> sqlx::Result<()> {
    let latest = found.iter().flat_map(|found| found.latest.iter().flatten());
    let lock = sqlx::query(schema.sql(
        "select from inbox.deliveries where id = any($1) and state <= 1 order by id for update",
    ));
    lock.bind(latest.map(|latest| latest.id).collect::<Vec<_>>()).execute(write).await?;
    Ok(())
}

/// Finds the stored event and the handlers' latest deliveries of each redelivery.
async fn find(
    read: &mut PgConnection,
    schema: &Schema,
    events: &[Incoming<'_>],
) -> sqlx::Result<Vec<Found>> {
    let keys: Vec<_> = events.iter().map(|(event, _)| event.key()).collect();
    let identities: Vec<_> = keys.iter().map(identity).collect();
    let deliveries = || {
        (1_i64..).zip(events).flat_map(|(position, (_, deliveries))| {
            deliveries.iter().map(move |delivery| (position, delivery))
        })
    };
    let rows = sqlx::query(schema.sql(
        "select given.position, event.id as event, wanted.position is not null as is_wanted,
             event.event_id = given.event_id or exists (
                 select from inbox.redelivered again
                 where again.event = event.id and again.event_id = given.event_id) as is_id_known,
             octet_length(event.payload) = 0 as is_erased, latest.id, latest.state, latest.lane
         from unnest($1, $2, $3) with ordinality as given (identity, generation, event_id, position)
         join inbox.events event using (identity, generation)
         left join unnest($4, $5, $6) with ordinality as wanted (position, handler, formerly, nth)
             on wanted.position = given.position
         left join lateral (
             select delivery.id, state, lane
             from inbox.events other cross join lateral (
                 select id, handler, state, lane from inbox.deliveries where event = other.id offset 0) delivery
             where other.identity = given.identity and handler in (wanted.handler, wanted.formerly)
             order by other.generation desc, delivery.id desc limit 1) latest on true
         order by given.position, wanted.nth",
    ))
    .bind(identities.iter().map(|identity| &identity[..]).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| i64::from(key.generation())).collect::<Vec<_>>())
    .bind(events.iter().map(|(event, _)| replace_nul(event.id())).collect::<Vec<_>>())
    .bind(deliveries().map(|(position, _)| position).collect::<Vec<_>>())
    .bind(deliveries().map(|(_, delivery)| replace_nul(&delivery.handler)).collect::<Vec<_>>())
    .bind(
        deliveries()
            .map(|(_, delivery)| delivery.formerly.as_deref().map(replace_nul))
            .collect::<Vec<_>>(),
    )
    .fetch_all(read)
    .await?;
    let mut found: Vec<Option<Found>> = events.iter().map(|_| None).collect();
    for row in &rows {
        let position: usize = number(row, "position")?;
        let (event, is_id_known) = (row.try_get("event")?, row.try_get("is_id_known")?);
        let is_erased = row.try_get("is_erased")?;
        // Positions count from 1.
        let new = || Found { event, is_id_known, is_erased, latest: Vec::new() };
        let found = found[position - 1].get_or_insert_with(new);
        if row.try_get("is_wanted")? {
            found.latest.push(latest(row)?);
        }
    }
    let purged = "an event was purged while its redelivery was being stored; store it again";
    let purged = || sqlx::Error::Configuration(purged.into());
    found.into_iter().collect::<Option<_>>().ok_or_else(purged)
}

fn latest(row: &PgRow) -> sqlx::Result<Option<Latest>> {
    let Some(id) = row.try_get("id")? else { return Ok(None) };
    let state = state(row.try_get::<i16, _>("state")?.into())?;
    Ok(Some(Latest { id, state, lane: row.try_get("lane")? }))
}

/// A redelivery that is being applied.
struct Redelivered<'e> {
    store: &'e PostgresStore,
    event: &'e Event,
    deliveries: &'e [NewDelivery],
    /// The id of the stored event.
    id: i64,
    /// The order key of the event as it was first received.
    order_key: OrderKey,
    /// The id of the redelivered payload, once it is stored.
    payload: Option<i64>,
}

impl<'e> Redelivered<'e> {
    async fn new(
        write: &mut PgConnection,
        store: &'e PostgresStore,
        (event, deliveries): Incoming<'e>,
        id: i64,
    ) -> sqlx::Result<Self> {
        let first = sqlx::query(store.schema.sql(
            "select payload, endpoint, generation, signed_at, serial from inbox.events where id = $1",
        ));
        let first = Event::from_store(stored_event(&first.bind(id).fetch_one(write).await?)?);
        // A stored event that is damaged cannot be delivered, so its order does not matter.
        let order_key = OrderKey::from_event(first.as_ref().unwrap_or(event));
        Ok(Self { store, event, deliveries, id, order_key, payload: None })
    }

    /// Returns the lanes of the deliveries that may be added or restarted.
    fn lanes(&self, found: &Found) -> Vec<i64> {
        let deliveries = self.deliveries.iter().zip(&found.latest);
        let lanes = deliveries.filter_map(|(delivery, latest)| match latest {
            Some(latest) => latest.lane,
            None => lane(&self.order_key, delivery),
        });
        lanes.collect()
    }

    async fn apply(mut self, write: &mut PgConnection) -> sqlx::Result<Stored> {
        let found = self.find(write, self.deliveries).await?;
        let mut results = Vec::with_capacity(self.deliveries.len());
        for (delivery, latest) in self.deliveries.iter().zip(found.latest) {
            results.push(self.deliver(write, delivery, latest, found.is_erased).await?);
        }
        if !found.is_id_known && !found.is_erased {
            self.store_payload(write).await?;
        }
        Ok(Stored::Redelivered(results))
    }

    /// Adds the delivery, restarts the handler's dead letter, or stores the payload for the case
    /// that an unfinished delivery becomes a dead letter.
    async fn deliver(
        &mut self,
        write: &mut PgConnection,
        delivery: &NewDelivery,
        latest: Option<Latest>,
        is_erased: bool,
    ) -> sqlx::Result<Redelivery> {
        match latest {
            None if is_erased => Ok(Redelivery::Erased),
            None => {
                self.add(write, delivery).await?;
                Ok(Redelivery::Added)
            }
            Some(Latest { id, state: DeliveryState::Dead, .. }) => {
                self.restart(write, id).await?;
                Ok(Redelivery::Restarted)
            }
            Some(Latest { id, state, .. }) if !is_settled(state) => {
                // A payload in the same form would fail again.
                let fails_again = self.has_same_form(write, id).await?;
                if fails_again || self.deliver_if_dead(write, id).await? {
                    return Ok(Redelivery::Unchanged(state));
                }
                // The delivery has finished since it was read, so it is read again.
                let Found { is_erased, mut latest, .. } =
                    self.find(write, from_ref(delivery)).await?;
                let latest = latest.pop().flatten();
                Box::pin(self.deliver(write, delivery, latest, is_erased)).await
            }
            Some(Latest { state, .. }) => Ok(Redelivery::Unchanged(state)),
        }
    }

    async fn find(
        &self,
        write: &mut PgConnection,
        deliveries: &[NewDelivery],
    ) -> sqlx::Result<Found> {
        let mut found = find(write, &self.store.schema, &[(self.event, deliveries)]).await?;
        found.pop().ok_or(sqlx::Error::RowNotFound)
    }

    async fn add(&mut self, write: &mut PgConnection, delivery: &NewDelivery) -> sqlx::Result<()> {
        let redelivered = Some(self.store_payload(write).await?);
        let count = sqlx::query(
            self.store.schema.sql("select count(*) from inbox.deliveries where event = $1"),
        );
        let count = number(&count.bind(self.id).fetch_one(&mut *write).await?, "count")?;
        let id = delivery_number(self.id, count);
        let order_key = &self.order_key;
        let row = NewRow { id, event: self.id, redelivered, delivery, order_key };
        insert_deliveries(write, self.store, &[row]).await
    }

    /// Restarts a dead letter, which keeps its lane and its place there.
    async fn restart(&mut self, write: &mut PgConnection, id: i64) -> sqlx::Result<()> {
        let restart = sqlx::query(self.store.schema.sql(
            "update inbox.deliveries set
                 state = 0, attempts = 0, due = (select inbox.inbox_now()), delay = 0, ended_at = null,
                 blocked = lane is not null, redelivered = $2
             where id = $1",
        ));
        let restart = restart.bind(id).bind(self.store_payload(write).await?);
        restart.execute(&mut *write).await?;
        notify(write, self.store).await
    }

    /// Returns whether the payload of a delivery has the form of the redelivered event.
    async fn has_same_form(&self, write: &mut PgConnection, id: i64) -> sqlx::Result<bool> {
        let current = sqlx::query(self.store.schema.sql(
            "select coalesce(again.payload, event.payload) as payload, endpoint, generation, event.signed_at, serial
             from inbox.deliveries delivery join inbox.events event on event.id = delivery.event
                 left join inbox.redelivered again on again.id = delivery.redelivered
             where delivery.id = $1",
        ));
        let current = stored_event(&current.bind(id).fetch_one(write).await?)?;
        Ok(Event::from_store(current).is_ok_and(|current| current.has_same_form(self.event)))
    }

    /// Sets the payload to deliver if an unfinished delivery ends as a dead letter. Returns `false`
    /// if the delivery has finished.
    async fn deliver_if_dead(&mut self, write: &mut PgConnection, id: i64) -> sqlx::Result<bool> {
        let set = sqlx::query(self.store.schema.sql(
            "update inbox.deliveries set redelivered_since = $2 where id = $1 and state <= 1",
        ));
        let set = set.bind(id).bind(self.store_payload(write).await?).execute(write).await?;
        Ok(set.rows_affected() == 1)
    }

    /// Stores the redelivered payload unless this call has stored it, and returns its id.
    async fn store_payload(&mut self, write: &mut PgConnection) -> sqlx::Result<i64> {
        if let Some(id) = self.payload {
            return Ok(id);
        }
        let stored = StoredEvent::from_event(self.event);
        let insert = sqlx::query(self.store.schema.sql(
            "insert into inbox.redelivered (event, event_id, payload, signed_at) values ($1, $2, $3, $4) returning id",
        ));
        let insert = insert.bind(self.id).bind(replace_nul(self.event.id()));
        let insert = insert.bind(&stored.payload[..]).bind(signed_at(&stored));
        let id = insert.fetch_one(write).await?.try_get(0)?;
        self.payload = Some(id);
        Ok(id)
    }
}
