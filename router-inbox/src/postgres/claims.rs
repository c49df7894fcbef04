//! Claims due deliveries and counts the backlog.

use std::sync::Arc;

use router_core::{Event, event::StoredEvent};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{number, schema::Schema, writes::replace_nul};
use crate::store::{
    Backlog, Claim, ClaimRequest, HandlerSlots, Lease,
    rows::{elapsed, millis, time, trace_parent},
};

/// Claims due deliveries in one statement, which is its own transaction. Returns the claims, and
/// the server's time in milliseconds since 1970.
///
/// - For each handler the index is read only up to the number of deliveries requested. Further
///   deliveries, and those of other handlers, cost nothing.
/// - `skip locked` skips deliveries that another claim or write has locked, so a claim never waits.
/// - The deliveries are ranked as [`Store::claim`](crate::Store::claim) requires. Deliveries beyond
///   the total limit are locked too, but only until the statement ends.
/// - Each claim increments the fencing token, so that an earlier lease can no longer write. A
///   delivery whose lease has expired keeps its number of attempts, and the time and the worker of
///   the attempt.
/// - If nothing is due, a second statement reads the time.
pub(super) async fn claim(
    connection: &mut PgConnection,
    schema: &Schema,
    request: &ClaimRequest,
) -> sqlx::Result<(Vec<Claim>, i64)> {
    let handlers = &request.handlers;
    let limit = |slots: &HandlerSlots| bigint(slots.free.min(request.limit));
    let rows = sqlx::query(schema.sql(
        "with locked as materialized (
             select request.number, request.in_flight, due.id, due.due, due.state
             from unnest($1, $2, $3) with ordinality as request (handler, most, in_flight, number)
             cross join lateral (
                 select id, due, state from inbox.deliveries
                 where handler = request.handler and state <= 1 and not blocked and due <= inbox.inbox_now()
                 order by due, id limit request.most for update skip locked) due),
         due as materialized (
             select number, id, due, state from locked
             order by in_flight + row_number() over (partition by number order by due, id), due, id
             limit $4),
         claimed as (
             update inbox.deliveries delivery set
                 attempts = delivery.attempts + (delivery.state = 0)::integer,
                 state = 1,
                 due = (select inbox.inbox_now()) + $5,
                 delay = $5,
                 token = delivery.token + 1,
                 claimed_at = case delivery.state when 0 then (select inbox.inbox_now()) else claimed_at end,
                 claimed_by = case delivery.state when 0 then $6 else claimed_by end
             from due where delivery.id = due.id
             returning due.number, due.due as since, due.state = 1 as lease_expired,
                 delivery.id, delivery.token, delivery.attempts, delivery.event, delivery.redelivered,
                 delivery.handler, delivery.sort_key, delivery.delayed)
         select (select inbox.inbox_now()) as now, number, lease_expired, claimed.id, token, attempts, stored.event_id,
             delayed, trace_parent,
             coalesce(again.payload, stored.payload) as payload, endpoint, generation, serial,
             case when again.id is null then stored.signed_at else again.signed_at end as signed_at,
             case when sort_key < -1 then inbox.is_outdated(handler, inbox.ordered_by(stored), ~sort_key) else false end as outdated
         from claimed join inbox.events stored on stored.id = claimed.event
             cross join lateral inbox.redelivered_event(claimed.redelivered) again
         order by since, claimed.id",
    ))
    .bind(handlers.iter().map(|slots| replace_nul(&slots.handler)).collect::<Vec<_>>())
    .bind(handlers.iter().map(limit).collect::<Vec<_>>())
    .bind(handlers.iter().map(|slots| bigint(slots.in_flight)).collect::<Vec<_>>())
    .bind(bigint(request.limit))
    .bind(millis(request.lease))
    .bind(request.worker.as_deref().map(replace_nul))
    .fetch_all(&mut *connection)
    .await?;
    let claim = |row: &PgRow| -> sqlx::Result<Claim> {
        // Ordinality counts from 1.
        let ordinal: usize = number(row, "number")?;
        let lease = Lease {
            delivery: row.try_get("id")?,
            handler: handlers[ordinal - 1].handler.clone(),
            event_id: row.try_get::<&str, _>("event_id")?.into(),
            token: row.try_get("token")?,
        };
        let event = Event::from_store(stored_event(row)?);
        let attempt = row.try_get::<i32, _>("attempts")?.unsigned_abs();
        let delayed = elapsed(row.try_get("delayed")?).unwrap_or_default();
        let claim =
            Claim::new(lease, event, attempt).delayed(delayed).trace_parent(trace_parent(row)?);
        Ok(claim.lease_expired(row.try_get("lease_expired")?).outdated(row.try_get("outdated")?))
    };
    let now = match rows.first() {
        Some(row) => row.try_get("now")?,
        None => {
            let now = sqlx::query_scalar(schema.sql("select inbox.inbox_now()"));
            now.fetch_one(connection).await?
        }
    };
    Ok((rows.iter().map(claim).collect::<sqlx::Result<_>>()?, now))
}

/// Counts the waiting and running deliveries of each handler, from partial indexes that do not
/// contain finished deliveries.
pub(super) async fn backlog(
    read: &mut PgConnection,
    schema: &Schema,
) -> sqlx::Result<Vec<Backlog>> {
    let rows = sqlx::query(schema.sql(
        "with parts as (
             select handler, count(*) filter (where state = 0) as waiting,
                 count(*) filter (where state = 1) as running, min(id) as oldest, min(due) as due
             from inbox.deliveries where state <= 1 and not blocked group by handler
             union all
             select handler, count(*), 0, min(id), null
             from inbox.deliveries where state = 0 and lane is not null and blocked group by handler
         ), open as (
             select handler, sum(waiting)::bigint as waiting, sum(running)::bigint as running,
                 min(oldest) as oldest, min(due) as due
             from parts group by handler
         )
         select open.handler, waiting, running, inbox.inbox_now() - event.stored_at as age,
             inbox.inbox_now() - open.due as due_for
         from open join inbox.deliveries delivery on delivery.id = oldest
             join inbox.events event on event.id = delivery.event
         order by open.handler",
    ));
    let rows = rows.fetch_all(read).await?;
    let backlog = rows.iter().map(|row| {
        Ok(Backlog {
            handler: Arc::from(row.try_get::<String, _>("handler")?),
            waiting: number(row, "waiting")?,
            running: number(row, "running")?,
            oldest: elapsed(row.try_get("age")?).unwrap_or_default(),
            oldest_due: row.try_get::<Option<i64>, _>("due_for")?.and_then(elapsed),
        })
    });
    backlog.collect()
}

pub(super) fn stored_event(row: &PgRow) -> sqlx::Result<StoredEvent> {
    Ok(StoredEvent {
        payload: row.try_get::<Vec<u8>, _>("payload")?.into(),
        endpoint: row.try_get("endpoint")?,
        signed_at: row.try_get::<Option<i64>, _>("signed_at")?.and_then(time),
        generation: number(row, "generation")?,
        serial: row.try_get::<Option<i64>, _>("serial")?.map(i64::cast_unsigned),
    })
}

fn bigint(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
