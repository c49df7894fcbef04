//! Stores events, renews leases and completes deliveries. The caller commits the transaction.
//!
//! No other transaction writes meanwhile, because each takes SQLite's write lock when it begins.

use router_core::event::StoredEvent;
use sqlx::{Row as _, SqliteConnection};

use crate::{
    CompleteResult, DeliveryOutcome, Lease, NewEvent, OrderKey, Stored,
    store::rows::{OutcomeColumns, millis},
};

pub(super) async fn store(
    write: &mut SqliteConnection,
    NewEvent { event, deliveries }: &NewEvent,
    now: i64,
) -> sqlx::Result<Stored> {
    let (stored, order_key) = (StoredEvent::from_event(event), OrderKey::from_event(event));
    let signed_at =
        stored.signed_at.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let row = sqlx::query(
        "insert into events (endpoint, account, event_id, generation, type, object, payload, signed_at, stored_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         on conflict do nothing returning id",
    )
    .bind(&stored.endpoint)
    .bind(event.account().unwrap_or_default())
    .bind(event.id())
    .bind(stored.generation)
    .bind(event.event_type())
    .bind(&order_key.object)
    .bind(&stored.payload[..])
    .bind(signed_at.map(millis))
    .bind(now)
    .fetch_optional(&mut *write)
    .await?;
    let Some(row) = row else { return Ok(Stored::Duplicate) };
    let id: i64 = row.try_get(0)?;
    for delivery in deliveries {
        let ordered = delivery.ordered.then_some(&order_key);
        sqlx::query(
            "insert into deliveries (event, handler, due, object, sort_key, blocked) values (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(id)
        .bind(&*delivery.handler)
        .bind(now)
        .bind(ordered.map(|order_key| &*order_key.object))
        .bind(ordered.map(|order_key| order_key.sort_key))
        .bind(delivery.ordered)
        .execute(&mut *write)
        .await?;
        if delivery.ordered {
            unblock_next(write, &delivery.handler, &order_key.object).await?;
        }
    }
    Ok(Stored::New)
}

/// Extends a lease and returns `true`, or returns `false` if it is no longer held.
///
/// Each claim increments the fencing token, so an older lease matches no row.
pub(super) async fn extend(
    write: &mut SqliteConnection,
    lease: &Lease,
    until: i64,
) -> sqlx::Result<bool> {
    let extended =
        sqlx::query("update deliveries set due = ?1 where id = ?2 and token = ?3 and state = 1");
    let extended = extended.bind(until).bind(lease.delivery).bind(lease.token);
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
    let OutcomeColumns { state, wait, error, released } = OutcomeColumns::new(outcome);
    let row = sqlx::query(
        "update deliveries set
             state = ?1, due = ?2, error = coalesce(?3, error),
             attempts = max(attempts - ?4, 0),
             ended_at = case when ?1 = 0 then null else ?5 end
         where id = ?6 and token = ?7 and state = 1
         returning object",
    )
    .bind(state)
    .bind(now.saturating_add(wait))
    .bind(error)
    .bind(released)
    .bind(now)
    .bind(lease.delivery)
    .bind(lease.token)
    .fetch_optional(&mut *write)
    .await?;
    let Some(row) = row else { return Ok(CompleteResult::LeaseLost) };
    if let Some(object) = row.try_get::<Option<String>, _>(0)? {
        unblock_next(write, &lease.handler, &object).await?;
    }
    Ok(CompleteResult::Recorded)
}

/// Makes the oldest waiting delivery of a lane (a handler and an object) the only claimable one, or
/// none while a delivery of the lane is running.
pub(super) async fn unblock_next(
    write: &mut SqliteConnection,
    handler: &str,
    object: &str,
) -> sqlx::Result<()> {
    let running = sqlx::query(
        "select 1 from deliveries where handler = ?1 and object = ?2 and state = 1 and object is not null limit 1",
    );
    if running.bind(handler).bind(object).fetch_optional(&mut *write).await?.is_some() {
        return Ok(());
    }
    let block_all = sqlx::query(
        "update deliveries set blocked = 1
         where handler = ?1 and object = ?2 and state = 0 and blocked = 0 and object is not null",
    );
    block_all.bind(handler).bind(object).execute(&mut *write).await?;
    let unblock = sqlx::query(
        "update deliveries set blocked = 0 where id = (
             select id from deliveries
             where handler = ?1 and object = ?2 and state = 0 and object is not null
             order by sort_key, id limit 1)",
    );
    unblock.bind(handler).bind(object).execute(&mut *write).await?;
    Ok(())
}
