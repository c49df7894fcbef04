//! Finds due deliveries, claims them and counts the backlog.

use std::sync::Arc;

use router_core::{Event, event::StoredEvent};
use sqlx::{Row as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::time::ClaimTime;
use crate::store::{
    Backlog, Claim, ClaimRequest, Lease,
    rows::{elapsed, millis, replace_nul, time, trace_parent},
    set_back::MAX_CORRECTED,
};

/// A claimable delivery.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    due: i64,
    id: i64,
    handler: String,
    /// `true` if its previous lease has expired.
    lease_expired: bool,
}

/// Returns the due deliveries within the request's limits, the longest due first.
pub(super) async fn due(
    read: &mut SqliteConnection,
    request: &ClaimRequest,
    time: ClaimTime,
) -> sqlx::Result<Vec<Due>> {
    let handlers: Vec<&str> = request.handlers.iter().map(|slots| &*slots.handler).collect();
    let most_free = request.handlers.iter().map(|slots| slots.free).max().unwrap_or(0);
    let limit = i64::try_from(most_free.min(request.limit)).unwrap_or(i64::MAX);
    // Each handler's range of the index is read from the start, up to the limit. The deliveries
    // beyond it, and those of other handlers, cost nothing.
    let rows = sqlx::query(
        "select due.id, due.handler, due.state, due.due
         from json_each(?1) request join stripe_inbox_deliveries due on due.id in (
             select id from stripe_inbox_deliveries
             where handler = request.value and state <= 1 and blocked = 0 and due <= ?2 and (state = 0 or due <= ?4)
             order by due, id limit ?3)
         order by due.due, due.id",
    )
    .bind(serde_json::json!(handlers).to_string())
    .bind(time.now)
    .bind(limit)
    .bind(time.for_leases)
    .fetch_all(read)
    .await?;
    let rows: Vec<Due> = rows
        .iter()
        .map(|row| {
            let lease_expired = row.try_get::<i64, _>(2)? == 1;
            let (id, handler, due) = (row.try_get(0)?, row.try_get(1)?, row.try_get(3)?);
            Ok(Due { due, id, handler, lease_expired })
        })
        .collect::<sqlx::Result<_>>()?;
    let handlers: Vec<String> = rows.iter().map(|row| row.handler.clone()).collect();
    let mut due = request.spread(handlers.iter().map(String::as_str).zip(rows));
    due.sort_unstable();
    Ok(due)
}

/// Claims due deliveries. The caller commits the transaction.
///
/// Each claim increments the fencing token, so that an earlier lease can no longer write. A
/// delivery whose lease has expired keeps its number of attempts, and the time and the worker of
/// the attempt.
pub(super) async fn claim(
    write: &mut SqliteConnection,
    request: &ClaimRequest,
    time: ClaimTime,
) -> sqlx::Result<Vec<Claim>> {
    let lease = millis(request.lease);
    let mut claims = Vec::new();
    for Due { id, handler, lease_expired, .. } in due(write, request, time).await? {
        let claim = sqlx::query(
            "update stripe_inbox_deliveries
             set attempts = attempts + (state = 0), state = 1, due = ?1, delay = ?2, token = token + 1,
                 claimed_at = case state when 0 then ?4 else claimed_at end,
                 claimed_by = case state when 0 then ?5 else claimed_by end
             where id = ?3 returning token, attempts, delayed",
        );
        let row = claim
            .bind(time.now.saturating_add(lease))
            .bind(lease)
            .bind(id)
            .bind(time.now)
            .bind(request.worker.as_deref().map(replace_nul))
            .fetch_one(&mut *write)
            .await?;
        let load_event = sqlx::query(
            "select e.event_id, coalesce(r.payload, e.payload) as payload, endpoint, generation, trace_parent,
                 case when r.id is null then e.signed_at else r.signed_at end as signed_at, serial,
                 sort_key < -1 and exists (
                     select 1 from stripe_inbox_newest_done n
                     where n.handler = d.handler and n.object = d.object and n.recency > ~d.sort_key) as outdated
             from stripe_inbox_deliveries d join stripe_inbox_events e on e.id = d.event
             left join stripe_inbox_redelivered r on r.id = d.redelivered
             where d.id = ?1",
        );
        let event_row = load_event.bind(id).fetch_one(&mut *write).await?;
        let lease = Lease {
            delivery: id,
            handler: Arc::from(handler),
            event_id: event_row.try_get::<&str, _>("event_id")?.into(),
            token: row.try_get(0)?,
        };
        let event = Event::from_store(stored_event(&event_row)?);
        let outdated = event_row.try_get::<Option<bool>, _>("outdated")?.unwrap_or(false);
        let delayed = elapsed(row.try_get(2)?).unwrap_or_default();
        let claim = Claim::new(lease, event, row.try_get(1)?).delayed(delayed);
        let claim = claim.trace_parent(trace_parent(&event_row)?);
        claims.push(claim.lease_expired(lease_expired).outdated(outdated));
    }
    Ok(claims)
}

/// Open deliveries that are due later than `?1`, from indexes without finished ones.
macro_rules! due_later {
    () => {
        "id in (
             select id from stripe_inbox_deliveries indexed by stripe_inbox_deliveries_due
             where state <= 1 and blocked = 0 and due > ?1
             union all
             select id from stripe_inbox_deliveries indexed by stripe_inbox_deliveries_in_lane
             where state = 0 and object is not null and blocked = 1 and due > ?1)
         and due > ?1 + delay"
    };
}

/// Returns whether a delivery is due later than now plus its delay.
pub(super) async fn is_due_too_late(read: &mut SqliteConnection, now: i64) -> sqlx::Result<bool> {
    let exists = sqlx::query(concat!(
        "select exists (select 1 from stripe_inbox_deliveries where ",
        due_later!(),
        ")"
    ));
    exists.bind(now).fetch_one(read).await?.try_get(0)
}

/// Limits the due times of up to [`MAX_CORRECTED`] open deliveries to now plus their delay, and
/// returns the number of deliveries changed. The caller commits the transaction.
pub(super) async fn correct_due_times(write: &mut SqliteConnection, now: i64) -> sqlx::Result<u64> {
    let update = sqlx::query(concat!(
        "update stripe_inbox_deliveries set due = ?1 + delay
         where id in (select id from stripe_inbox_deliveries where ",
        due_later!(),
        " limit ?2)"
    ));
    Ok(update.bind(now).bind(MAX_CORRECTED).execute(write).await?.rows_affected())
}

/// Counts the waiting and running deliveries of each handler, by reading only indexes without
/// finished ones. Blocked deliveries are not in the index of the claimable ones.
pub(super) async fn backlog(readers: &SqlitePool, now: i64) -> sqlx::Result<Vec<Backlog>> {
    let rows = sqlx::query(
        "with parts as (
             select handler, sum(state = 0) as waiting, sum(state = 1) as running, min(id) as oldest,
                 min(due) as due
             from stripe_inbox_deliveries where state <= 1 and blocked = 0 group by handler
             union all
             select handler, count(*), 0, min(id), null
             from stripe_inbox_deliveries where state = 0 and object is not null and blocked = 1 group by handler
         ), open as (
             select handler, sum(waiting) as waiting, sum(running) as running, min(oldest) as oldest,
                 min(due) as due
             from parts group by handler
         )
         select open.handler, waiting, running, stored_at, open.due
         from open join stripe_inbox_deliveries d on d.id = oldest join stripe_inbox_events e on e.id = d.event
         order by open.handler",
    );
    let rows = rows.fetch_all(readers).await?;
    let backlog = rows.iter().map(|row| {
        let handler: String = row.try_get("handler")?;
        let age = now.saturating_sub(row.try_get("stored_at")?);
        let due: Option<i64> = row.try_get("due")?;
        Ok(Backlog {
            handler: handler.into(),
            waiting: row.try_get("waiting")?,
            running: row.try_get("running")?,
            oldest: elapsed(age).unwrap_or_default(),
            oldest_due: due.and_then(|due| elapsed(now - due)),
        })
    });
    backlog.collect()
}

pub(super) fn stored_event(row: &SqliteRow) -> sqlx::Result<StoredEvent> {
    Ok(StoredEvent {
        payload: row.try_get::<Vec<u8>, _>("payload")?.into(),
        endpoint: row.try_get("endpoint")?,
        signed_at: row.try_get::<Option<i64>, _>("signed_at")?.and_then(time),
        generation: row.try_get("generation")?,
        serial: row.try_get::<Option<i64>, _>("serial")?.map(i64::cast_unsigned),
    })
}
