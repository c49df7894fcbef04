//! Erases the data of events. The caller commits the transaction.

use std::collections::HashSet;

use sqlx::{PgConnection, Row as _};

use super::{
    super::{number, schema::Schema},
    lock_generations,
};
use crate::{
    operations::{EraseOutcome, EraseResult},
    store::rows::state,
};

/// Erases the data of those of these events that have no unfinished delivery, each with all of its
/// generations. An empty payload marks an event as erased.
pub(super) async fn erase(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[i64],
) -> sqlx::Result<Vec<EraseResult>> {
    lock_generations(write, schema, events).await?;
    // Finished deliveries cannot change while their events are locked.
    let rows = sqlx::query(schema.sql(
        "select position, min(event_id) as event_id, array_agg(distinct other) as generations,
             bool_and(octet_length(payload) = 0) as is_erased, array_remove(array_agg(state), null) as states
         from unnest($1) with ordinality as given (id, position)
             join inbox.generations on generations.event = given.id
             join inbox.events event on event.id = other
             left join inbox.deliveries delivery on delivery.event = other
         group by position order by position",
    ));
    let mut results = vec![EraseResult::not_found(); events.len()];
    let mut erased = HashSet::<i64>::new();
    for row in rows.bind(events).fetch_all(&mut *write).await? {
        let generations: Vec<i64> = row.try_get("generations")?;
        // Several of the given ids may be generations of one event.
        let is_repeated = generations.iter().any(|generation| erased.contains(generation));
        let is_erased = is_repeated || row.try_get("is_erased")?;
        let states: Vec<i16> = row.try_get("states")?;
        let states = states.into_iter().map(|number| state(number.into()));
        let outcome = EraseOutcome::new(states.collect::<sqlx::Result<Vec<_>>>()?, is_erased);
        if outcome == EraseOutcome::Erased {
            erased.extend(generations);
        }
        // Positions count from 1.
        results[number::<usize>(&row, "position")? - 1] =
            EraseResult::new(row.try_get::<String, _>("event_id")?, outcome);
    }
    let erase = [
        // A damaged history may contain the data anywhere, so only its valid entries remain.
        "with locked as materialized (
             select id from inbox.deliveries where event = any($1) order by id for update)
         update inbox.deliveries delivery set
             state = case state when 4 then 5 else state end,
             ended_at = case state when 4 then (select inbox.inbox_now()) else ended_at end,
             redelivered_since = null, error = null,
             history = case jsonb_typeof(history) when 'array' then (
                 select jsonb_agg(entry - 'error' order by position)
                 from jsonb_array_elements(history) with ordinality as entries (entry, position)
                 where jsonb_typeof(entry) = 'object') end
         from locked where delivery.id = locked.id",
        "update inbox.redelivered set payload = '' where event = any($1)",
        "update inbox.events set payload = '' where id = any($1)",
    ];
    let erased: Vec<i64> = erased.into_iter().collect();
    for erase in erase {
        sqlx::query(schema.sql(erase)).bind(&erased).execute(&mut *write).await?;
    }
    Ok(results)
}
