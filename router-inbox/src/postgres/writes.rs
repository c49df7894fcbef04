//! Stores events, renews leases and completes deliveries. The caller commits the transaction.
//!
//! A lane is the sequence of the deliveries of one `ordered` handler for one object. At most one
//! delivery of a lane is claimable or running at any time; the other waiting ones are `blocked`.
//!
//! Transactions take their locks in one order, so that no two deadlock:
//!
//! 1. events that an operation changes, by id (row locks, see `operations/mod.rs`);
//! 2. lanes, by number (advisory locks);
//! 3. new events, by key (an insert waits for another transaction's insert of the same key);
//! 4. deliveries (row locks): first those to complete or change, by id, then the claimable ones of
//!    the locked lanes, by id.
//!
//! Claims take no lane lock, and skip deliveries that another transaction has locked. They never
//! wait for a lock, so they are not part of this order. A replay discards dead letters before it
//! locks lanes. This is safe because only operations change dead letters, and only while they hold
//! the lock of the event.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashSet},
    time::{Duration, UNIX_EPOCH},
};

use router_core::event::{EventKey, StoredEvent};
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, Row as _};

use super::schema::Schema;
use crate::{
    CompleteResult, DeliveryOutcome, Lease, NewDelivery, NewEvent, OrderKey, Stored,
    store::rows::{OutcomeColumns, millis},
};

/// Stores the events that are new, and notifies other processes.
///
/// The notification contains `store_name`, so that this store can ignore it.
pub(super) async fn store(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[NewEvent],
    store_name: &str,
) -> sqlx::Result<Vec<Stored>> {
    let lanes: BTreeSet<i64> = events
        .iter()
        .flat_map(|new| new.deliveries.iter().filter_map(|delivery| lane(new, delivery)))
        .collect();
    lock_lanes(write, &lanes).await?;
    let mut ids = insert_events(write, schema, events).await?;
    let mut stored = Vec::with_capacity(events.len());
    let mut new = Vec::new();
    for (index, event) in events.iter().enumerate() {
        match ids.remove(&index) {
            Some(id) => {
                new.push((id, event));
                stored.push(Stored::New);
            }
            None => stored.push(Stored::Duplicate),
        }
    }
    insert_deliveries(write, schema, &new, store_name).await?;
    unblock_next(write, schema, &lanes).await?;
    Ok(stored)
}

/// Extends the leases that are still held and returns them, as pairs of delivery and fencing token.
///
/// A lease is held if the delivery still runs under its token. Each claim increments the token, so
/// an older lease matches no row. The rows are locked in the order of their ids before any is
/// updated. The single statement needs no explicit transaction.
pub(super) async fn extend(
    write: &mut PgConnection,
    schema: &Schema,
    leases: &[Lease],
    duration: Duration,
) -> sqlx::Result<HashSet<(i64, i64)>> {
    let rows = sqlx::query(schema.sql(
        "with held as materialized (
             select delivery.id
             from inbox.deliveries delivery join unnest($1, $2) as lease (id, token) using (id, token)
             where delivery.state = 1 order by delivery.id for update of delivery)
         update inbox.deliveries delivery set due = (select inbox.inbox_now()) + $3
         from held where delivery.id = held.id returning delivery.id, delivery.token",
    ))
    .bind(leases.iter().map(|lease| lease.delivery).collect::<Vec<_>>())
    .bind(leases.iter().map(|lease| lease.token).collect::<Vec<_>>())
    .bind(millis(duration))
    .fetch_all(write)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Records the outcomes of deliveries whose leases are still held, and unblocks the next delivery
/// of each lane.
///
/// If a delivery has been claimed again, its former lease has an older fencing token and matches no
/// row.
pub(super) async fn complete(
    write: &mut PgConnection,
    schema: &Schema,
    outcomes: &[(Lease, DeliveryOutcome)],
) -> sqlx::Result<Vec<CompleteResult>> {
    // If a lease has two outcomes, the first is recorded.
    let mut by_lease = BTreeMap::new();
    for (index, (lease, outcome)) in outcomes.iter().enumerate() {
        by_lease
            .entry((lease.delivery, lease.token))
            .or_insert((index, OutcomeColumns::new(outcome)));
    }
    let deliveries: Vec<i64> = by_lease.keys().map(|(delivery, _)| *delivery).collect();
    // Read without a lock, because the lane of a delivery never changes.
    let lanes = lanes_of(write, schema, &deliveries).await?;
    lock_lanes(write, &lanes).await?;
    let columns = by_lease.values().map(|(_, columns)| columns);
    let rows = sqlx::query(schema.sql(
        "with ended as materialized (
             select ended.*
             from inbox.deliveries delivery
             join unnest($1, $2, $3, $4, $5, $6) as ended (id, token, state, wait, error, released)
                 using (id, token)
             where delivery.state = 1 order by delivery.id for update of delivery)
         update inbox.deliveries delivery set
             state = ended.state,
             due = (select inbox.inbox_now()) + ended.wait,
             error = coalesce(ended.error, delivery.error),
             attempts = greatest(delivery.attempts - ended.released::integer, 0),
             ended_at = case when ended.state = 0 then null else (select inbox.inbox_now()) end
         from ended where delivery.id = ended.id returning delivery.id, delivery.token",
    ))
    .bind(&deliveries)
    .bind(by_lease.keys().map(|(_, token)| *token).collect::<Vec<i64>>())
    .bind(columns.clone().map(|columns| columns.state).collect::<Vec<_>>())
    .bind(columns.clone().map(|columns| columns.wait).collect::<Vec<_>>())
    .bind(columns.clone().map(|columns| columns.error.map(replace_nul)).collect::<Vec<_>>())
    .bind(columns.map(|columns| columns.released).collect::<Vec<_>>())
    .fetch_all(&mut *write)
    .await?;
    let mut completed = vec![CompleteResult::LeaseLost; outcomes.len()];
    for row in rows {
        let (index, _) = &by_lease[&(row.try_get(0)?, row.try_get(1)?)];
        completed[*index] = CompleteResult::Recorded;
    }
    unblock_next(write, schema, &lanes).await?;
    Ok(completed)
}

/// Replaces each NUL, which PostgreSQL cannot store in a text, with the symbol `␀`.
///
/// Events are deduplicated by a hash of the original key, and delivered with the original payload.
/// Names and ids to search for must pass through this function too, so that they match the columns.
pub(super) fn replace_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() }
}

/// Inserts the events that are new and returns their ids, by index in `events`.
///
/// If another transaction has inserted the same key and is still open, the insert waits for it. The
/// event is a duplicate if that transaction commits, and new if it rolls back.
async fn insert_events(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[NewEvent],
) -> sqlx::Result<BTreeMap<usize, i64>> {
    // Sorted by key, which is the lock order. Of two events with one key, the first is inserted.
    let mut index_by_key = BTreeMap::new();
    for (index, new) in events.iter().enumerate() {
        index_by_key.entry(key(&new.event.key())).or_insert(index);
    }
    let distinct = || index_by_key.values().map(|index| &events[*index].event);
    let stored: Vec<_> = distinct().map(StoredEvent::from_event).collect();
    let signed_at =
        |stored: &StoredEvent| stored.signed_at?.duration_since(UNIX_EPOCH).ok().map(millis);
    let objects: Vec<_> = distinct().map(|event| OrderKey::from_event(event).object).collect();
    let rows = sqlx::query(schema.sql(
        "insert into inbox.events
             (key, endpoint, account, event_id, generation, type, object, payload, signed_at, stored_at)
         select *, inbox.inbox_now() from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (key) do nothing returning id, key",
    ))
    .bind(index_by_key.keys().map(|key| &key[..]).collect::<Vec<_>>())
    .bind(stored.iter().map(|stored| replace_nul(&stored.endpoint)).collect::<Vec<_>>())
    .bind(distinct().map(|event| event.account().map(replace_nul)).collect::<Vec<_>>())
    .bind(distinct().map(|event| replace_nul(event.id())).collect::<Vec<_>>())
    .bind(stored.iter().map(|stored| i64::from(stored.generation)).collect::<Vec<_>>())
    .bind(distinct().map(|event| replace_nul(event.event_type())).collect::<Vec<_>>())
    .bind(objects.iter().map(|object| replace_nul(object)).collect::<Vec<_>>())
    .bind(stored.iter().map(|stored| &stored.payload[..]).collect::<Vec<_>>())
    .bind(stored.iter().map(signed_at).collect::<Vec<_>>())
    .fetch_all(write)
    .await?;
    let mut ids = BTreeMap::new();
    for row in rows {
        let key: [u8; 32] = row.try_get(1)?;
        ids.insert(index_by_key[&key], row.try_get(0)?);
    }
    Ok(ids)
}

/// Inserts the deliveries of new events, and notifies other stores when the transaction commits.
///
/// Ordered deliveries are inserted as blocked; [`unblock_next`] unblocks the first of each lane.
async fn insert_deliveries(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[(i64, &NewEvent)],
    store_name: &str,
) -> sqlx::Result<()> {
    // Ids are assigned in the order of these rows. Within a lane, deliveries with equal sort keys
    // run in the order of their ids.
    let rows = || {
        events.iter().flat_map(|(event_id, new)| {
            new.deliveries.iter().map(move |delivery| (*event_id, *new, delivery))
        })
    };
    if rows().next().is_none() {
        return Ok(());
    }
    let sort_key = |new: &NewEvent| OrderKey::from_event(&new.event).sort_key;
    sqlx::query(schema.sql(
        "with new as (
             insert into inbox.deliveries (event, handler, lane, sort_key, blocked, due)
             select event, handler, lane, sort_key, lane is not null, inbox.inbox_now()
             from unnest($1, $2, $3, $4) as new (event, handler, lane, sort_key))
         select pg_notify($5, $6)",
    ))
    .bind(rows().map(|(event_id, ..)| event_id).collect::<Vec<_>>())
    .bind(rows().map(|(.., delivery)| replace_nul(&delivery.handler)).collect::<Vec<_>>())
    .bind(rows().map(|(_, new, delivery)| lane(new, delivery)).collect::<Vec<_>>())
    .bind(
        rows()
            .map(|(_, new, delivery)| delivery.ordered.then(|| sort_key(new)))
            .collect::<Vec<_>>(),
    )
    .bind(schema.name())
    .bind(store_name)
    .execute(write)
    .await?;
    Ok(())
}

/// Blocks all waiting deliveries of each lane except the oldest, which becomes claimable. While a
/// delivery of the lane is running, the oldest is blocked too.
///
/// The caller must hold the lanes' locks.
pub(super) async fn unblock_next(
    write: &mut PgConnection,
    schema: &Schema,
    lanes: &BTreeSet<i64>,
) -> sqlx::Result<()> {
    if lanes.is_empty() {
        return Ok(());
    }
    let lanes: Vec<i64> = lanes.iter().copied().collect();
    // Claims take no lane lock. So the claimable delivery of each lane is locked first, which waits
    // for a claim in progress, and prevents further claims until this transaction ends.
    //
    // The update must be a separate statement, because a statement sees only what was committed
    // before it began. As part of the locking statement, the update would not see the claims that
    // the locking has waited for.
    sqlx::query(schema.sql(
        "select from inbox.deliveries
         where lane = any($1) and state = 0 and not blocked and lane is not null order by id for update",
    ))
    .bind(&lanes)
    .execute(&mut *write)
    .await?;
    sqlx::query(schema.sql(
        "with next as materialized (
             select (select id from inbox.deliveries
                     where lane = locked.lane and state = 0 and lane is not null order by sort_key, id limit 1) as id
             from unnest($1) as locked (lane)
             where not exists (
                 select from inbox.deliveries where lane = locked.lane and state = 1 and lane is not null)),
         reblocked as (
             update inbox.deliveries set blocked = true
             where lane = any($1) and state = 0 and not blocked and lane is not null
                 and id not in (select id from next where id is not null))
         update inbox.deliveries set blocked = false where id in (select id from next) and blocked",
    ))
    .bind(&lanes)
    .execute(write)
    .await?;
    Ok(())
}

/// Locks lanes until the transaction ends, with advisory locks, because a lane has no row to lock.
///
/// Other transactions cannot add deliveries to a locked lane, nor complete, retry or discard its
/// deliveries. The only exception is a replay, which discards dead letters without this lock.
pub(super) async fn lock_lanes(
    write: &mut PgConnection,
    lanes: &BTreeSet<i64>,
) -> sqlx::Result<()> {
    if !lanes.is_empty() {
        let lock = sqlx::query("select pg_advisory_xact_lock(lane) from unnest($1) as lane");
        lock.bind(lanes.iter().copied().collect::<Vec<_>>()).execute(write).await?;
    }
    Ok(())
}

/// Returns the lanes of these deliveries. Only ordered deliveries have a lane.
pub(super) async fn lanes_of(
    write: &mut PgConnection,
    schema: &Schema,
    deliveries: &[i64],
) -> sqlx::Result<BTreeSet<i64>> {
    let lanes = sqlx::query(
        schema.sql("select lane from inbox.deliveries where id = any($1) and lane is not null"),
    );
    let lanes = lanes.bind(deliveries).fetch_all(write).await?;
    lanes.iter().map(|row| row.try_get(0)).collect()
}

/// Returns the lane of an ordered delivery: a hash of its handler and object. Returns `None` for an
/// unordered delivery.
///
/// If two hashes collide, the two lanes become one. Their deliveries then run one at a time, which
/// only costs time.
fn lane(new: &NewEvent, delivery: &NewDelivery) -> Option<i64> {
    let number = |hash: [u8; 32]| i64::from_be_bytes(std::array::from_fn(|byte| hash[byte]));
    let object = || OrderKey::from_event(&new.event).object;
    delivery.ordered.then(|| number(hash(&[&delivery.handler, &object()])))
}

/// Returns the value of the column `key`: a hash of everything that identifies an event.
fn key(key: &EventKey) -> [u8; 32] {
    let generation = key.generation().to_string();
    // Distinguishes no account from an account with an empty name.
    let account_tag = if key.account().is_some() { "account" } else { "" };
    let account = key.account().unwrap_or_default();
    hash(&[key.endpoint(), account_tag, account, key.id(), &generation])
}

fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
