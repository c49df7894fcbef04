//! Stores events, renews leases and completes deliveries. The caller commits the transaction.
//!
//! A lane is the sequence of the deliveries of one `ordered` handler for one object. At most one
//! delivery of a lane is claimable or running at any time; the other waiting ones are `blocked`.
//!
//! Transactions take their locks in one order, so that no two deadlock:
//!
//! 1. events that an operation or a redelivery changes, by id (row locks, see `lock_events` in
//!    `redeliver.rs` and `operations/mod.rs`);
//! 2. lanes, by number (advisory locks);
//! 3. new events, by identity and generation (an insert waits for another transaction's insert of
//!    the same event);
//! 4. deliveries (row locks): first those to complete or change, by id, then the claimable ones of
//!    the locked lanes, by id.
//!
//! A redelivery is therefore applied in a second transaction (`redeliver.rs`): an event turns out
//! to be a duplicate only when it is inserted, while lanes are locked.
//!
//! Claims take no lane lock, and skip deliveries that another transaction has locked. They never
//! wait for a lock, so they are not part of this order. A replay discards dead letters before it
//! locks lanes. This is safe because only operations and redeliveries change dead letters, and only
//! while they hold the lock of the event. Rows of `newest_done` are written under the lane's lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, UNIX_EPOCH},
};

use router_core::{Event, event::StoredEvent};
use sqlx::{PgConnection, Row as _};

use super::{PostgresStore, history::with_attempt, schema::Schema};
pub(super) use crate::store::rows::replace_nul;
use crate::store::{
    CompleteResult, DeliveryOutcome, Lease, NewDelivery, NewEvent, OUT_OF_ORDER, OrderKey,
    TraceParent,
    identity::{hash, identity},
    number::delivery_number,
    rows::{OutcomeColumns, millis, object_column},
};

/// A delivery to insert.
pub(super) struct NewRow<'d> {
    pub(super) id: i64,
    pub(super) event: i64,
    pub(super) redelivered: Option<i64>,
    pub(super) delivery: &'d NewDelivery,
    pub(super) order_key: &'d OrderKey,
}

/// Stores the events that are new, notifies other processes, and returns the indexes of these
/// events.
///
/// `redelivered` returns the id of the redelivered payload for a delivery of the event with this
/// index.
pub(super) async fn store(
    write: &mut PgConnection,
    store: &PostgresStore,
    events: &[NewEvent],
    redelivered: impl Fn(usize, &NewDelivery) -> Option<i64>,
) -> sqlx::Result<HashSet<usize>> {
    let schema = &store.schema;
    let order_keys: Vec<_> = events.iter().map(|new| OrderKey::from_event(&new.event)).collect();
    let lanes: BTreeSet<i64> = events
        .iter()
        .zip(&order_keys)
        .flat_map(|(new, order_key)| new.deliveries.iter().filter_map(|new| lane(order_key, new)))
        .collect();
    lock_lanes(write, schema, &lanes).await?;
    let ids = insert_events(write, schema, events).await?;
    let mut rows = Vec::new();
    for (&index, &event) in &ids {
        for (position, delivery) in events[index].deliveries.iter().enumerate() {
            let id = delivery_number(event, position);
            let redelivered = redelivered(index, delivery);
            rows.push(NewRow { id, event, redelivered, delivery, order_key: &order_keys[index] });
        }
    }
    insert_deliveries(write, store, &rows).await?;
    unblock_next(write, schema, &lanes).await?;
    Ok(ids.into_keys().collect())
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
         update inbox.deliveries delivery set due = (select inbox.inbox_now()) + $3, delay = $3
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
/// of each lane. Remembers the recency of those done for the newest event of an object.
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
    lock_lanes(write, schema, &lanes).await?;
    let columns = by_lease.values().map(|(_, columns)| columns);
    // An attempt that ended the delivery as done or ignored keeps `claimed_at` and `claimed_by`.
    let rows = sqlx::query(schema.sql(concat!(
        "with ended as materialized (
             select ended.*, ended.state = 4 and delivery.redelivered_since is not null as restarts
             from inbox.deliveries delivery
             join unnest($1, $2, $3, $4, $5, $6, $7, $8, $10, $11)
                 as ended (id, token, state, wait, error, counts, later, out_of_order, attempt, attempt_error)
                 using (id, token)
             where delivery.state = 1 order by delivery.id for update of delivery),
         recorded as (
             update inbox.deliveries delivery set
                 state = case when restarts then 0 else ended.state end,
                 due = (select inbox.inbox_now()) + ended.wait,
                 delay = ended.wait,
                 error = coalesce(ended.error, delivery.error),
                 attempts = case when restarts then 0 when counts then delivery.attempts
                     else greatest(delivery.attempts - 1, 0) end,
                 delayed = case when later then delayed + ended.wait when ended.state = 0 then delayed else 0 end,
                 sort_key = case when out_of_order and sort_key >= 0
                     then $9 + (select inbox.inbox_now()) + ended.wait else sort_key end,
                 blocked = restarts and lane is not null,
                 redelivered = case when restarts then redelivered_since else redelivered end,
                 redelivered_since = case when restarts then null else redelivered_since end,
                 ended_at = case when ended.state = 0 or restarts then null else (select inbox.inbox_now()) end,
                 claimed_at = case when ended.state in (2, 3) then delivery.claimed_at end,
                 claimed_by = case when ended.state in (2, 3) then delivery.claimed_by end,
                 history = ",
        with_attempt!("ended.attempt", "ended.attempt_error"),
        " from ended where delivery.id = ended.id
             returning delivery.id, delivery.token, delivery.state, event, handler, sort_key, restarts),
         newest as (
             insert into inbox.newest_done as known
             select inbox.done_key(handler, inbox.ordered_by(stored)), max(~sort_key)
             from recorded join inbox.events stored on stored.id = recorded.event
             where state = 2 and sort_key < -1 group by 1
             on conflict (key) do update set recency = greatest(known.recency, excluded.recency))
         select id, token, restarts from recorded",
    )))
    .bind(&deliveries)
    .bind(by_lease.keys().map(|(_, token)| *token).collect::<Vec<i64>>())
    .bind(columns.clone().map(|columns| columns.state).collect::<Vec<_>>())
    .bind(columns.clone().map(|columns| columns.wait).collect::<Vec<_>>())
    .bind(columns.clone().map(|columns| columns.error.map(replace_nul)).collect::<Vec<_>>())
    .bind(columns.clone().map(|columns| columns.counts).collect::<Vec<_>>())
    .bind(columns.clone().map(|columns| columns.later).collect::<Vec<_>>())
    .bind(columns.clone().map(|columns| columns.out_of_order).collect::<Vec<_>>())
    .bind(OUT_OF_ORDER)
    .bind(columns.clone().map(|columns| columns.attempt).collect::<Vec<_>>())
    .bind(
        columns
            .map(|columns| columns.attempt_error.as_deref().map(replace_nul))
            .collect::<Vec<_>>(),
    )
    .fetch_all(&mut *write)
    .await?;
    let mut completed = vec![CompleteResult::LeaseLost; outcomes.len()];
    for row in rows {
        let (index, _) = &by_lease[&(row.try_get(0)?, row.try_get(1)?)];
        let restarts = row.try_get(2)?;
        completed[*index] =
            if restarts { CompleteResult::Restarted } else { CompleteResult::Recorded };
    }
    unblock_next(write, schema, &lanes).await?;
    Ok(completed)
}

/// Inserts the events that are new and returns their ids, by index in `events`.
///
/// If another transaction has inserted the same event and is still open, the insert waits for it.
/// The event is a duplicate if that transaction commits, and new if it rolls back.
async fn insert_events(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[NewEvent],
) -> sqlx::Result<BTreeMap<usize, i64>> {
    let keys: Vec<_> = events.iter().map(|new| new.event.key()).collect();
    let identities: Vec<_> = keys.iter().map(identity).collect();
    let objects: Vec<_> = events.iter().map(|new| object_column(&new.event)).collect();
    let stored: Vec<_> = events.iter().map(|new| StoredEvent::from_event(&new.event)).collect();
    let column = |value: fn(&Event) -> &str| -> Vec<_> {
        events.iter().map(|new| replace_nul(value(&new.event))).collect()
    };
    // Ids are drawn in the order of `events`. Within a lane, deliveries with equal sort keys run in
    // the order of their ids. Rows are inserted in the lock order. Of several rows with one key,
    // the first is inserted.
    let rows = sqlx::query(schema.sql(
        "insert into inbox.events
             (id, identity, endpoint, account, event_id, generation, type, object, payload, signed_at, serial, trace_parent, stored_at)
         select *, inbox.inbox_now()
         from rows from (inbox.next_event_ids(cardinality($1)), unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11))
             as new (id, identity, endpoint, account, event_id, generation)
         order by identity, generation, id
         on conflict (identity, generation) do nothing returning id, identity, generation",
    ))
    .bind(identities.iter().map(|identity| &identity[..]).collect::<Vec<_>>())
    .bind(stored.iter().map(|stored| replace_nul(&stored.endpoint)).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.account().map(replace_nul)).collect::<Vec<_>>())
    .bind(column(Event::id))
    .bind(stored.iter().map(|stored| i64::from(stored.generation)).collect::<Vec<_>>())
    .bind(column(Event::event_type))
    .bind(objects.iter().map(|object| replace_nul(object)).collect::<Vec<_>>())
    .bind(stored.iter().map(|stored| &stored.payload[..]).collect::<Vec<_>>())
    .bind(stored.iter().map(signed_at).collect::<Vec<_>>())
    .bind(stored.iter().map(|stored| stored.serial.map(u64::cast_signed)).collect::<Vec<_>>())
    .bind(events.iter().map(|new| new.trace_parent.as_ref().map(TraceParent::as_str)).collect::<Vec<_>>())
    .fetch_all(write)
    .await?;
    let mut index_by_key = HashMap::new();
    for (index, (identity, stored)) in identities.iter().zip(&stored).enumerate() {
        index_by_key.entry((*identity, i64::from(stored.generation))).or_insert(index);
    }
    let mut ids = BTreeMap::new();
    for row in rows {
        let key: ([u8; 32], i64) = (row.try_get(1)?, row.try_get(2)?);
        ids.insert(index_by_key[&key], row.try_get(0)?);
    }
    Ok(ids)
}

/// Returns the value of the column `signed_at`.
pub(super) fn signed_at(stored: &StoredEvent) -> Option<i64> {
    stored.signed_at?.duration_since(UNIX_EPOCH).ok().map(millis)
}

/// Inserts deliveries, and notifies other stores when the transaction commits.
///
/// The notification contains the store's name, so that this store can ignore it. Ordered deliveries
/// are inserted as blocked; [`unblock_next`] unblocks the first of each lane.
pub(super) async fn insert_deliveries(
    write: &mut PgConnection,
    PostgresStore { schema, name, .. }: &PostgresStore,
    rows: &[NewRow<'_>],
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let lanes = rows.iter().map(|row| lane(row.order_key, row.delivery));
    let sort_key = |row: &NewRow| Some(row.order_key.position(row.delivery.order?));
    sqlx::query(schema.sql(
        "with new as (
             insert into inbox.deliveries (id, event, redelivered, handler, lane, sort_key, blocked, due, delay)
             select id, event, redelivered, handler, lane, sort_key, lane is not null, inbox.inbox_now(), 0
             from unnest($1, $2, $3, $4, $5, $6) as new (id, event, redelivered, handler, lane, sort_key))
         select pg_notify($7, $8)",
    ))
    .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.redelivered).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| replace_nul(&row.delivery.handler)).collect::<Vec<_>>())
    .bind(lanes.collect::<Vec<_>>())
    .bind(rows.iter().map(sort_key).collect::<Vec<_>>())
    .bind(schema.name())
    .bind(name)
    .execute(write)
    .await?;
    Ok(())
}

/// Notifies other stores when the transaction commits.
pub(super) async fn notify(
    write: &mut PgConnection,
    PostgresStore { schema, name, .. }: &PostgresStore,
) -> sqlx::Result<()> {
    let notify = sqlx::query("select pg_notify($1, $2)").bind(schema.name()).bind(name);
    notify.execute(write).await?;
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
///
/// Advisory locks belong to the whole database, so the key depends on the schema too: inboxes in
/// other schemas have equal lanes for equal objects.
pub(super) async fn lock_lanes(
    write: &mut PgConnection,
    schema: &Schema,
    lanes: &BTreeSet<i64>,
) -> sqlx::Result<()> {
    if !lanes.is_empty() {
        let lock = sqlx::query(
            "select pg_advisory_xact_lock(hashtextextended($2, lane)) from unnest($1) as lane",
        );
        let lanes = lanes.iter().copied().collect::<Vec<_>>();
        lock.bind(lanes).bind(schema.name()).execute(write).await?;
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
pub(super) fn lane(order_key: &OrderKey, delivery: &NewDelivery) -> Option<i64> {
    delivery.order?;
    let hash = hash(&[&delivery.handler, &order_key.object]);
    Some(i64::from_be_bytes(std::array::from_fn(|byte| hash[byte])))
}
