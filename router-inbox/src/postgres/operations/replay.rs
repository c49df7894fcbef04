//! Events once more, within a transaction that the caller commits.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use router_core::Event;
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{
    super::{
        PostgresStore, claims, number,
        schema::Schema,
        writes::{self, text},
    },
    lock_generations,
};
use crate::{NewDelivery, NewEvent, operations::Replayed};

/// What is replayed, and the last generation of it until now.
struct Again {
    last: i64,
    new: NewEvent,
}

pub(super) async fn replay(
    write: &mut PgConnection,
    store: &PostgresStore,
    events: &[i64],
    handlers: &[Arc<str>],
) -> sqlx::Result<Vec<Replayed>> {
    let schema = &store.schema;
    lock_generations(write, schema, events).await?;
    let rows = last_generations(write, schema, events).await?;
    let ordered = ordered(write, schema).await?;
    let mut replayed = vec![Replayed::Gone; events.len()];
    let mut again = Vec::<Again>::new();
    // The same event may be meant by several numbers.
    let mut times = HashMap::<i64, u32>::new();
    for row in &rows {
        let place: usize = number(row, "place")?;
        let last: i64 = row.try_get("id")?;
        let told = match of(row, handlers, times.get(&last).copied().unwrap_or(0), &ordered)? {
            Ok(new) => {
                let told = told(&new);
                *times.entry(last).or_default() += 1;
                again.push(Again { last, new });
                told
            }
            Err(why_not) => why_not,
        };
        replayed[place - 1] = told;
    }
    discard_dead_letters(write, schema, &again).await?;
    no_more_unhandled(write, schema, &again).await?;
    let new: Vec<NewEvent> = again.into_iter().map(|again| again.new).collect();
    writes::store(write, schema, &new, &store.name).await?;
    Ok(replayed)
}

/// What is to be stored, or why nothing is.
fn of(
    row: &PgRow,
    given: &[Arc<str>],
    times: u32,
    ordered: &HashSet<String>,
) -> sqlx::Result<Result<NewEvent, Replayed>> {
    let event_id: String = row.try_get("event_id")?;
    let mut kept = claims::kept(row)?;
    kept.generation = kept.generation.saturating_add(1).saturating_add(times);
    let Ok(event) = Event::from_store(kept) else {
        return Ok(Err(Replayed::Damaged { event_id }));
    };
    let handlers: BTreeSet<Arc<str>> = match given {
        [] => row.try_get::<Vec<String>, _>("handlers")?.into_iter().map(Arc::from).collect(),
        given => given.iter().cloned().collect(),
    };
    if handlers.is_empty() {
        return Ok(Err(Replayed::NoHandler { event_id }));
    }
    let delivery = |handler: Arc<str>| {
        let ordered = ordered.contains(&*text(&handler));
        NewDelivery { handler, ordered }
    };
    Ok(Ok(NewEvent { event, deliveries: handlers.into_iter().map(delivery).collect() }))
}

fn told(NewEvent { event, deliveries }: &NewEvent) -> Replayed {
    Replayed::Again {
        event_id: event.id().to_owned(),
        generation: event.key().generation(),
        handlers: deliveries.iter().map(|delivery| delivery.handler.clone()).collect(),
    }
}

/// Of each event that is there, by its place among those that are asked for.
async fn last_generations(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[i64],
) -> sqlx::Result<Vec<PgRow>> {
    let rows = sqlx::query(schema.sql(
        "select given.place, last.*,
             array(select handler from inbox.deliveries where event = last.id) as handlers
         from unnest($1) with ordinality as given (id, place)
         cross join lateral (
             select event.id, event_id, endpoint, generation, payload, signed_at
             from inbox.generations join inbox.events event on event.id = other
             where generations.event = given.id order by generation desc limit 1) last
         order by place",
    ));
    rows.bind(events).fetch_all(write).await
}

/// The handlers that are given the events of one object one after the other.
async fn ordered(write: &mut PgConnection, schema: &Schema) -> sqlx::Result<HashSet<String>> {
    let rows = sqlx::query(schema.sql("select name from inbox.handlers where ordered"));
    rows.fetch_all(write).await?.iter().map(|row| row.try_get(0)).collect()
}

/// Of all generations of these events: what is replayed stands for them.
async fn discard_dead_letters(
    write: &mut PgConnection,
    schema: &Schema,
    again: &[Again],
) -> sqlx::Result<()> {
    let rows = || {
        again.iter().flat_map(|Again { last, new }| {
            new.deliveries.iter().map(|delivery| (*last, text(&delivery.handler)))
        })
    };
    let discard = sqlx::query(schema.sql(
        "update inbox.deliveries set state = 5, ended_at = (select inbox.inbox_now())
         where state = 4 and id in (
             select dead.id
             from unnest($1, $2) as again (event, handler) join inbox.generations using (event)
                 join inbox.deliveries dead on dead.event = other and dead.handler = again.handler
             where dead.state = 4)",
    ));
    discard
        .bind(rows().map(|(last, _)| last).collect::<Vec<_>>())
        .bind(rows().map(|(_, handler)| handler).collect::<Vec<_>>())
        .execute(write)
        .await?;
    Ok(())
}

async fn no_more_unhandled(
    write: &mut PgConnection,
    schema: &Schema,
    again: &[Again],
) -> sqlx::Result<()> {
    let remove = sqlx::query(schema.sql(
        "delete from inbox.unhandled
         where event in (select other from inbox.generations where event = any($1))",
    ));
    let last: Vec<i64> = again.iter().map(|again| again.last).collect();
    remove.bind(last).execute(write).await?;
    Ok(())
}
