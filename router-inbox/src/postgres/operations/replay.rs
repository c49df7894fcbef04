//! Replays events. The caller commits the transaction.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use router_core::{Event, delivery::DeliveryOrder};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{
    super::{
        PostgresStore, claims, number,
        schema::Schema,
        writes::{self, replace_nul},
    },
    lock_generations,
};
use crate::{
    operations::ReplayResult,
    store::{NewDelivery, NewEvent, rows::order},
};

/// A new generation to store, and the id of the latest generation before it.
struct NewGeneration {
    last: i64,
    new: NewEvent,
}

pub(super) async fn replay(
    write: &mut PgConnection,
    store: &PostgresStore,
    events: &[i64],
    handlers: &[Arc<str>],
) -> sqlx::Result<Vec<ReplayResult>> {
    let schema = &store.schema;
    lock_generations(write, schema, events).await?;
    let rows = last_generations(write, schema, events).await?;
    let orders = orders(write, schema).await?;
    let mut replayed = vec![ReplayResult::NotFound; events.len()];
    let mut generations = Vec::<NewGeneration>::new();
    // Several of the given ids may be generations of one event: each of them replays it.
    let mut replays = HashMap::<i64, u32>::new();
    for row in &rows {
        let position: usize = number(row, "position")?;
        let last: i64 = row.try_get("id")?;
        let earlier = replays.get(&last).copied().unwrap_or(0);
        let result = match new_generation(row, handlers, earlier, &orders)? {
            Ok(new) => {
                let result = replayed_as(&new);
                *replays.entry(last).or_default() += 1;
                generations.push(NewGeneration { last, new });
                result
            }
            Err(refused) => refused,
        };
        replayed[position - 1] = result;
    }
    discard_dead_letters(write, schema, &generations).await?;
    delete_unhandled(write, schema, &generations).await?;
    let payloads = payloads(write, schema, &generations).await?;
    let (last, new): (Vec<i64>, Vec<NewEvent>) =
        generations.into_iter().map(|NewGeneration { last, new }| (last, new)).unzip();
    let redelivered = |index: usize, delivery: &NewDelivery| {
        let handler = replace_nul(&delivery.handler).into_owned();
        payloads.get(&(last[index], handler)).copied()
    };
    writes::store(write, store, &new, redelivered).await?;
    Ok(replayed)
}

/// Returns the generation to store, or the result if there is none. `earlier` is the number of
/// replays of the same event in this call so far.
fn new_generation(
    row: &PgRow,
    given: &[Arc<str>],
    earlier: u32,
    orders: &HashMap<String, DeliveryOrder>,
) -> sqlx::Result<Result<NewEvent, ReplayResult>> {
    let event_id: String = row.try_get("event_id")?;
    let mut stored = claims::stored_event(row)?;
    if stored.payload.is_empty() {
        return Ok(Err(ReplayResult::Erased { event_id }));
    }
    stored.generation = stored.generation.saturating_add(1).saturating_add(earlier);
    let Ok(event) = Event::from_store(stored) else {
        return Ok(Err(ReplayResult::Damaged { event_id }));
    };
    let handlers: BTreeSet<Arc<str>> = match given {
        [] => row.try_get::<Vec<String>, _>("handlers")?.into_iter().map(Arc::from).collect(),
        given => given.iter().cloned().collect(),
    };
    if handlers.is_empty() {
        return Ok(Err(ReplayResult::NoHandler { event_id }));
    }
    let delivery = |handler: Arc<str>| {
        let order = orders.get(&*replace_nul(&handler)).copied();
        NewDelivery { handler, formerly: None, order }
    };
    Ok(Ok(NewEvent::new(event, handlers.into_iter().map(delivery).collect())))
}

fn replayed_as(NewEvent { event, deliveries, .. }: &NewEvent) -> ReplayResult {
    ReplayResult::Replayed {
        event_id: event.id().to_owned(),
        generation: event.key().generation(),
        handlers: deliveries.iter().map(|delivery| delivery.handler.clone()).collect(),
    }
}

/// Loads the latest generation of each event that exists, with its 1-based position in `events`.
async fn last_generations(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[i64],
) -> sqlx::Result<Vec<PgRow>> {
    let rows = sqlx::query(schema.sql(
        "select given.position, last.*,
             array(select handler from inbox.deliveries where event = last.id) as handlers
         from unnest($1) with ordinality as given (id, position)
         cross join lateral (
             select event.id, event_id, endpoint, generation, payload, signed_at, serial
             from inbox.generations join inbox.events event on event.id = other
             where generations.event = given.id order by generation desc limit 1) last
         order by position",
    ));
    rows.bind(events).fetch_all(write).await
}

/// Loads the orders of the `ordered` handlers, by name.
async fn orders(
    write: &mut PgConnection,
    schema: &Schema,
) -> sqlx::Result<HashMap<String, DeliveryOrder>> {
    let rows =
        sqlx::query(schema.sql("select name, ordered from inbox.handlers where ordered <> 0"));
    let mut orders = HashMap::new();
    for row in rows.fetch_all(write).await? {
        if let Some(order) = order(row.try_get::<i16, _>(1)?.into())? {
            orders.insert(row.try_get(0)?, order);
        }
    }
    Ok(orders)
}

/// Loads the ids of the redelivered payloads of the handlers' latest deliveries, by the id of the
/// event's latest generation and the handler's name.
async fn payloads(
    write: &mut PgConnection,
    schema: &Schema,
    generations: &[NewGeneration],
) -> sqlx::Result<HashMap<(i64, String), i64>> {
    let rows = sqlx::query(schema.sql(
        "select event, handler, redelivered
         from (
             select distinct on (generations.event, handler) generations.event, handler, redelivered
             from inbox.generations join inbox.events event on event.id = other
                 join inbox.deliveries delivery on delivery.event = other
             where generations.event = any($1)
             order by generations.event, handler, generation desc, delivery.id desc
         ) latest
         where redelivered is not null",
    ));
    let last: Vec<i64> = generations.iter().map(|generation| generation.last).collect();
    let rows = rows.bind(last).fetch_all(write).await?;
    let entry = |row: &PgRow| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?));
    rows.iter().map(entry).collect()
}

/// Discards the dead letters of all generations of these events, because the replay replaces them.
async fn discard_dead_letters(
    write: &mut PgConnection,
    schema: &Schema,
    generations: &[NewGeneration],
) -> sqlx::Result<()> {
    let rows = || {
        generations.iter().flat_map(|NewGeneration { last, new }| {
            new.deliveries.iter().map(|delivery| (*last, replace_nul(&delivery.handler)))
        })
    };
    let discard = sqlx::query(schema.sql(
        "update inbox.deliveries set state = 5, ended_at = (select inbox.inbox_now())
         where state = 4 and id in (
             select dead.id
             from unnest($1, $2) as replayed (event, handler) join inbox.generations using (event)
                 join inbox.deliveries dead on dead.event = other and dead.handler = replayed.handler
             where dead.state = 4)",
    ));
    discard
        .bind(rows().map(|(last, _)| last).collect::<Vec<_>>())
        .bind(rows().map(|(_, handler)| handler).collect::<Vec<_>>())
        .execute(write)
        .await?;
    Ok(())
}

/// Removes all generations of these events from the unhandled events.
async fn delete_unhandled(
    write: &mut PgConnection,
    schema: &Schema,
    generations: &[NewGeneration],
) -> sqlx::Result<()> {
    let remove = sqlx::query(schema.sql(
        "delete from inbox.unhandled
         where event in (select other from inbox.generations where event = any($1))",
    ));
    let last: Vec<i64> = generations.iter().map(|generation| generation.last).collect();
    remove.bind(last).execute(write).await?;
    Ok(())
}
