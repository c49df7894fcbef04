//! Stores events, renews leases and completes deliveries. The caller commits the transaction.
//!
//! No other transaction writes meanwhile, because each takes SQLite's write lock when it begins.

use std::time::{Duration, UNIX_EPOCH};

use router_core::{Event, event::StoredEvent};
use sqlx::{Row as _, SqliteConnection};

use super::history::with_attempt;
use crate::store::{
    CompleteResult, DeliveryOutcome, Lease, NewDelivery, NewEvent, OUT_OF_ORDER, OrderKey,
    TraceParent,
    identity::identity,
    newest_recency,
    number::delivery_number,
    rows::{OutcomeColumns, millis, object_column, replace_nul},
};

/// Stores an event and returns `true`, or returns `false` if it is already stored.
pub(super) async fn store_new(
    write: &mut SqliteConnection,
    new: &NewEvent,
    now: i64,
) -> sqlx::Result<bool> {
    let NewEvent { event, deliveries, trace_parent } = new;
    let order_key = OrderKey::from_event(event);
    let Some(id) = insert_event(write, event, trace_parent.as_ref(), now).await? else {
        return Ok(false);
    };
    for (index, delivery) in deliveries.iter().enumerate() {
        let row = NewRow { id: delivery_number(id, index), event: id, redelivered: None };
        insert_delivery(write, row, delivery, &order_key, now).await?;
    }
    Ok(true)
}

/// Inserts an event and returns its id, or returns `None` if it is already stored.
async fn insert_event(
    write: &mut SqliteConnection,
    event: &Event,
    trace_parent: Option<&TraceParent>,
    now: i64,
) -> sqlx::Result<Option<i64>> {
    let (key, stored) = (event.key(), StoredEvent::from_event(event));
    let row = sqlx::query(
        "insert into stripe_inbox_events
             (identity, endpoint, account, event_id, generation, type, object, payload, signed_at, serial, stored_at,
              trace_parent)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         on conflict do nothing returning id",
    )
    .bind(&identity(&key)[..])
    .bind(&stored.endpoint)
    .bind(replace_nul(key.account().unwrap_or_default()))
    .bind(event.id())
    .bind(stored.generation)
    .bind(event.event_type())
    .bind(replace_nul(&object_column(event)))
    .bind(&stored.payload[..])
    .bind(signed_at(&stored))
    .bind(stored.serial.map(u64::cast_signed))
    .bind(now)
    .bind(trace_parent.map(TraceParent::as_str))
    .fetch_optional(write)
    .await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// Returns the value of the column `signed_at`.
pub(super) fn signed_at(stored: &StoredEvent) -> Option<i64> {
    stored.signed_at?.duration_since(UNIX_EPOCH).ok().map(millis)
}

/// The columns of a new delivery that do not depend on its handler.
pub(super) struct NewRow {
    pub(super) id: i64,
    pub(super) event: i64,
    pub(super) redelivered: Option<i64>,
}

/// Inserts a delivery. An ordered one is blocked until it is the first of its lane.
pub(super) async fn insert_delivery(
    write: &mut SqliteConnection,
    NewRow { id, event, redelivered }: NewRow,
    delivery: &NewDelivery,
    order_key: &OrderKey,
    now: i64,
) -> sqlx::Result<()> {
    let object = delivery.order.map(|_| &*order_key.object);
    sqlx::query(
        "insert into stripe_inbox_deliveries
             (id, event, redelivered, handler, due, delay, object, sort_key, blocked)
         values (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8)",
    )
    .bind(id)
    .bind(event)
    .bind(redelivered)
    .bind(&*delivery.handler)
    .bind(now)
    .bind(object)
    .bind(delivery.order.map(|order| order_key.position(order)))
    .bind(object.is_some())
    .execute(&mut *write)
    .await?;
    match object {
        Some(object) => unblock_next(write, &delivery.handler, object).await,
        None => Ok(()),
    }
}

/// Extends a lease and returns `true`, or returns `false` if it is no longer held.
///
/// Each claim increments the fencing token, so an older lease matches no row.
pub(super) async fn extend(
    write: &mut SqliteConnection,
    lease: &Lease,
    duration: Duration,
    now: i64,
) -> sqlx::Result<bool> {
    let delay = millis(duration);
    let extended = sqlx::query(
        "update stripe_inbox_deliveries set due = ?1, delay = ?2 where id = ?3 and token = ?4 and state = 1",
    );
    let extended = extended.bind(now.saturating_add(delay)).bind(delay);
    let extended = extended.bind(lease.delivery).bind(lease.token);
    Ok(extended.execute(write).await?.rows_affected() == 1)
}

/// Records the result of a run if its lease is still held, and unblocks the next delivery of the
/// lane.
pub(super) async fn complete(
    write: &mut SqliteConnection,
    lease: &Lease,
    outcome: &DeliveryOutcome,
    now: i64,
) -> sqlx::Result<CompleteResult> {
    let OutcomeColumns { state, wait, error, counts, later, out_of_order, attempt, attempt_error } =
        OutcomeColumns::new(outcome);
    // An attempt that ended the delivery as done or ignored keeps `claimed_at` and `claimed_by`.
    let row = sqlx::query(concat!(
        "update stripe_inbox_deliveries set
             state = ?1, due = ?2, delay = ?8, error = coalesce(?3, error),
             attempts = case when ?4 then attempts else max(attempts - 1, 0) end,
             delayed = case when ?9 then delayed + ?8 when ?1 = 0 then delayed else 0 end,
             sort_key = case when ?10 and sort_key >= 0 then ?11 + ?2 else sort_key end,
             ended_at = case when ?1 = 0 then null else ?5 end,
             claimed_at = case when ?1 in (2, 3) then claimed_at end,
             claimed_by = case when ?1 in (2, 3) then claimed_by end,
             history = ",
        with_attempt!("?12", "?13", "?5"),
        " where id = ?6 and token = ?7 and state = 1
         returning object, sort_key",
    ))
    .bind(state)
    .bind(now.saturating_add(wait))
    .bind(error)
    .bind(counts)
    .bind(now)
    .bind(lease.delivery)
    .bind(lease.token)
    .bind(wait)
    .bind(later)
    .bind(out_of_order)
    .bind(OUT_OF_ORDER)
    .bind(attempt)
    .bind(attempt_error.as_deref().map(replace_nul))
    .fetch_optional(&mut *write)
    .await?;
    let Some(row) = row else { return Ok(CompleteResult::LeaseLost) };
    let restarted =
        matches!(outcome, DeliveryOutcome::Dead { .. }) && restart(write, lease, now).await?;
    if let Some(object) = row.try_get::<Option<String>, _>(0)? {
        let is_done = *outcome == DeliveryOutcome::Done;
        if let Some(recency) = newest_recency(row.try_get(1)?).filter(|_| is_done) {
            remember_done(write, &lease.handler, &object, recency).await?;
        }
        unblock_next(write, &lease.handler, &object).await?;
    }
    Ok(if restarted { CompleteResult::Restarted } else { CompleteResult::Recorded })
}

/// Starts a dead letter over and returns `true`, if its event was redelivered in the meantime.
async fn restart(write: &mut SqliteConnection, lease: &Lease, now: i64) -> sqlx::Result<bool> {
    let restart = sqlx::query(
        "update stripe_inbox_deliveries set
             state = 0, attempts = 0, due = ?1, delay = 0, ended_at = null, blocked = object is not null,
             redelivered = redelivered_since, redelivered_since = null
         where id = ?2 and redelivered_since is not null",
    );
    let restarted = restart.bind(now).bind(lease.delivery).execute(write).await?;
    Ok(restarted.rows_affected() == 1)
}

/// Remembers that a handler has done an event of an object with this recency.
async fn remember_done(
    write: &mut SqliteConnection,
    handler: &str,
    object: &str,
    recency: i64,
) -> sqlx::Result<()> {
    let remember = sqlx::query(
        "insert into stripe_inbox_newest_done values (?1, ?2, ?3)
         on conflict do update set recency = max(recency, excluded.recency)",
    );
    remember.bind(handler).bind(object).bind(recency).execute(write).await?;
    Ok(())
}

/// Makes the oldest waiting delivery of a lane (a handler and an object) the only claimable one, or
/// none while a delivery of the lane is running.
pub(super) async fn unblock_next(
    write: &mut SqliteConnection,
    handler: &str,
    object: &str,
) -> sqlx::Result<()> {
    let running = sqlx::query(
        "select 1 from stripe_inbox_deliveries
         where handler = ?1 and object = ?2 and state = 1 and object is not null limit 1",
    );
    if running.bind(handler).bind(object).fetch_optional(&mut *write).await?.is_some() {
        return Ok(());
    }
    let block_all = sqlx::query(
        "update stripe_inbox_deliveries set blocked = 1
         where handler = ?1 and object = ?2 and state = 0 and blocked = 0 and object is not null",
    );
    block_all.bind(handler).bind(object).execute(&mut *write).await?;
    let unblock = sqlx::query(
        "update stripe_inbox_deliveries set blocked = 0 where id = (
             select id from stripe_inbox_deliveries
             where handler = ?1 and object = ?2 and state = 0 and object is not null
             order by sort_key, id limit 1)",
    );
    unblock.bind(handler).bind(object).execute(&mut *write).await?;
    Ok(())
}
