//! Counts events and deliveries without reading the finished ones.

use std::{collections::BTreeMap, time::Duration};

use sqlx::{PgConnection, Row as _};

use super::super::{number, paused, schema::Schema, workers};
use crate::{
    operations::{BacklogCount, HandlerStatus, InboxStatus},
    store::rows::elapsed,
};

/// The number of rows of a table up to which the total is counted exactly.
const MAX_COUNTED: i64 = 100_000;

/// Computes the status. The caller provides a transaction whose statements read one snapshot.
pub(super) async fn status(read: &mut PgConnection, schema: &Schema) -> sqlx::Result<InboxStatus> {
    let [events, unhandled, deliveries] = totals(read, schema).await?;
    let handlers = by_handler(read, schema).await?;
    let unfinished = handlers.iter().map(|handler| {
        let HandlerStatus { waiting, running, dead, .. } = handler;
        waiting.number + running.number + dead.number
    });
    // The total may be an estimate, and then less than the exact counts.
    let finished = deliveries.saturating_sub(unfinished.sum());
    let workers = Some(workers::running(read, schema).await?);
    let paused = paused::list(read, schema).await?;
    Ok(InboxStatus { events, unhandled, finished, handlers, workers, paused })
}

/// Returns the number of events, unhandled events and deliveries.
///
/// PostgreSQL reads all rows to count them, so larger tables are estimated from the server's own
/// statistics.
async fn totals(read: &mut PgConnection, schema: &Schema) -> sqlx::Result<[u64; 3]> {
    let rows = sqlx::query(schema.sql(
        "with counted (position, relation, number) as (
             select 1, 'inbox.events'::regclass, count(*)
             from (select from inbox.events limit $1) counted
             union all
             select 2, 'inbox.unhandled'::regclass, count(*)
             from (select from inbox.unhandled limit $1) counted
             union all
             select 3, 'inbox.deliveries'::regclass, count(*)
             from (select from inbox.deliveries limit $1) counted)
         select case when number < $1 then number else greatest(number, estimate::bigint) end as number
         from counted
         join pg_class on oid = relation
         cross join lateral (
             select reltuples / greatest(relpages, 1)
                 * (pg_relation_size(oid) / current_setting('block_size')::bigint) as estimate) estimated
         order by position",
    ));
    let rows = rows.bind(MAX_COUNTED + 1).fetch_all(read).await?;
    let mut totals = [0; 3];
    for (total, row) in totals.iter_mut().zip(&rows) {
        *total = number(row, "number")?;
    }
    Ok(totals)
}

/// Counts the deliveries of each handler, by handler name. Reads only indexes of unfinished and
/// dead deliveries.
async fn by_handler(read: &mut PgConnection, schema: &Schema) -> sqlx::Result<Vec<HandlerStatus>> {
    let rows = sqlx::query(schema.sql(
        // Event ids ascend in the order of storage, so the smallest is that of the oldest event.
        "with parts as (
             select handler, state, count(*) as number, min(event) as oldest,
                 count(*) filter (where due <= (select inbox.inbox_now())) as due, min(due) as oldest_due
             from inbox.deliveries where state <= 1 and not blocked group by handler, state
             union all
             select handler, 0, count(*), min(event), 0, null
             from inbox.deliveries where state = 0 and lane is not null and blocked group by handler
             union all
             select handler, 4, count(*), min(event), 0, null
             from inbox.deliveries where state = 4 group by handler
         ), counted as (
             select handler, state, sum(number)::bigint as number, min(oldest) as oldest,
                 sum(due)::bigint as due, min(oldest_due) as oldest_due
             from parts group by handler, state
         )
         select name, state::bigint, number, due, (select inbox.inbox_now()) - oldest_due as due_for,
             greatest((select inbox.inbox_now()) - stored_at, 0) as age
         from inbox.handlers
         left join counted on handler = name
         left join inbox.events event on event.id = oldest
         order by name",
    ));
    let mut handlers = BTreeMap::<String, HandlerStatus>::new();
    for row in rows.fetch_all(read).await? {
        let name: String = row.try_get("name")?;
        let handler =
            handlers.entry(name).or_insert_with_key(|name| HandlerStatus::new(name.as_str()));
        let Some(state) = row.try_get::<Option<i64>, _>("state")? else { continue };
        let oldest = Some(Duration::from_millis(number(&row, "age")?));
        let count = BacklogCount { number: number(&row, "number")?, oldest };
        handler.due += number::<u64>(&row, "due")?;
        let oldest_due = row.try_get::<Option<i64>, _>("due_for")?.and_then(elapsed);
        handler.oldest_due = handler.oldest_due.max(oldest_due);
        match state {
            0 => handler.waiting = count,
            1 => handler.running = count,
            _ => handler.dead = count,
        }
    }
    Ok(handlers.into_values().collect())
}
