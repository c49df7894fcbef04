//! What adds and changes rows, within a transaction that the caller commits.
//!
//! Who waits for whom has one order everywhere, so that two that write at once never wait for each other: lanes by
//! number, then events by key, then deliveries by number. (Whoever operates the inbox locks the events that it is about
//! before all of these.)

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
    Completed, DeliveryOutcome, Lease, NewDelivery, NewEvent, OrderKey, Stored,
    store::rows::{OutcomeColumns, millis},
};

/// Stores what is new, and tells other processes in the name of this `store`.
pub(super) async fn store(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[NewEvent],
    store: &str,
) -> sqlx::Result<Vec<Stored>> {
    let lanes: BTreeSet<i64> = events
        .iter()
        .flat_map(|new| new.deliveries.iter().filter_map(|delivery| lane(new, delivery)))
        .collect();
    lock(write, &lanes).await?;
    let mut numbers = insert_events(write, schema, events).await?;
    let mut stored = Vec::with_capacity(events.len());
    let mut new = Vec::new();
    for (at, event) in events.iter().enumerate() {
        match numbers.remove(&at) {
            Some(number) => {
                new.push((number, event));
                stored.push(Stored::New);
            }
            None => stored.push(Stored::Duplicate),
        }
    }
    insert_deliveries(write, schema, &new, store).await?;
    let_the_oldest_go(write, schema, &lanes).await?;
    Ok(stored)
}

/// Those of the leases that were still held.
pub(super) async fn extend(
    write: &mut PgConnection,
    schema: &Schema,
    leases: &[Lease],
    time: Duration,
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
    .bind(millis(time))
    .fetch_all(write)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

pub(super) async fn complete(
    write: &mut PgConnection,
    schema: &Schema,
    ends: &[(Lease, DeliveryOutcome)],
) -> sqlx::Result<Vec<Completed>> {
    // Of two ends of one lease the first counts.
    let mut first = BTreeMap::new();
    for (at, (lease, end)) in ends.iter().enumerate() {
        first.entry((lease.delivery, lease.token)).or_insert((at, OutcomeColumns::by(end)));
    }
    let deliveries: Vec<i64> = first.keys().map(|(delivery, _)| *delivery).collect();
    let lanes = lanes_of(write, schema, &deliveries).await?;
    lock(write, &lanes).await?;
    let ended = first.values().map(|(_, ended)| ended);
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
    .bind(first.keys().map(|(_, token)| *token).collect::<Vec<i64>>())
    .bind(ended.clone().map(|ended| ended.state).collect::<Vec<_>>())
    .bind(ended.clone().map(|ended| ended.wait).collect::<Vec<_>>())
    .bind(ended.clone().map(|ended| ended.error.map(text)).collect::<Vec<_>>())
    .bind(ended.map(|ended| ended.released).collect::<Vec<_>>())
    .fetch_all(&mut *write)
    .await?;
    let mut completed = vec![Completed::LeaseLost; ends.len()];
    for row in rows {
        let (at, _) = &first[&(row.try_get(0)?, row.try_get(1)?)];
        completed[*at] = Completed::Recorded;
    }
    let_the_oldest_go(write, schema, &lanes).await?;
    Ok(completed)
}

/// A text that PostgreSQL can keep: it knows no NUL. What has one is found by its key and delivered from its payload
/// all the same.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() }
}

/// Numbers of those that are new, by their places in the group.
async fn insert_events(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[NewEvent],
) -> sqlx::Result<BTreeMap<usize, i64>> {
    // By key; of what is there twice, the first.
    let mut places = BTreeMap::new();
    for (at, new) in events.iter().enumerate() {
        places.entry(key(&new.event.key())).or_insert(at);
    }
    let events = || places.values().map(|at| &events[*at].event);
    let kept: Vec<_> = events().map(StoredEvent::of).collect();
    let signed_at =
        |kept: &StoredEvent| kept.signed_at?.duration_since(UNIX_EPOCH).ok().map(millis);
    let objects: Vec<_> = events().map(|event| OrderKey::of(event).object).collect();
    let rows = sqlx::query(schema.sql(
        "insert into inbox.events
             (key, endpoint, account, event_id, generation, type, object, payload, signed_at, stored_at)
         select *, inbox.inbox_now() from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (key) do nothing returning id, key",
    ))
    .bind(places.keys().map(|key| &key[..]).collect::<Vec<_>>())
    .bind(kept.iter().map(|kept| text(&kept.endpoint)).collect::<Vec<_>>())
    .bind(events().map(|event| event.account().map(text)).collect::<Vec<_>>())
    .bind(events().map(|event| text(event.id())).collect::<Vec<_>>())
    .bind(kept.iter().map(|kept| i64::from(kept.generation)).collect::<Vec<_>>())
    .bind(events().map(|event| text(event.event_type())).collect::<Vec<_>>())
    .bind(objects.iter().map(|object| text(object)).collect::<Vec<_>>())
    .bind(kept.iter().map(|kept| &kept.payload[..]).collect::<Vec<_>>())
    .bind(kept.iter().map(signed_at).collect::<Vec<_>>())
    .fetch_all(write)
    .await?;
    let mut numbers = BTreeMap::new();
    for row in rows {
        let key: [u8; 32] = row.try_get(1)?;
        numbers.insert(places[&key], row.try_get(0)?);
    }
    Ok(numbers)
}

async fn insert_deliveries(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[(i64, &NewEvent)],
    store: &str,
) -> sqlx::Result<()> {
    // In the order in which the events came: among equally old ones it counts.
    let rows = || {
        events.iter().flat_map(|(number, new)| {
            new.deliveries.iter().map(move |delivery| (*number, *new, delivery))
        })
    };
    if rows().next().is_none() {
        return Ok(());
    }
    let age = |new: &NewEvent| OrderKey::of(&new.event).age;
    sqlx::query(schema.sql(
        "with new as (
             insert into inbox.deliveries (event, handler, lane, age, blocked, due)
             select event, handler, lane, age, lane is not null, inbox.inbox_now()
             from unnest($1, $2, $3, $4) as new (event, handler, lane, age))
         select pg_notify($5, $6)",
    ))
    .bind(rows().map(|(number, ..)| number).collect::<Vec<_>>())
    .bind(rows().map(|(.., delivery)| text(&delivery.handler)).collect::<Vec<_>>())
    .bind(rows().map(|(_, new, delivery)| lane(new, delivery)).collect::<Vec<_>>())
    .bind(rows().map(|(_, new, delivery)| delivery.ordered.then(|| age(new))).collect::<Vec<_>>())
    .bind(schema.name())
    .bind(store)
    .execute(write)
    .await?;
    Ok(())
}

/// Of each lane, lets the oldest that waits go, and no other; none, while one is out. The lanes are locked.
pub(super) async fn let_the_oldest_go(
    write: &mut PgConnection,
    schema: &Schema,
    lanes: &BTreeSet<i64>,
) -> sqlx::Result<()> {
    if lanes.is_empty() {
        return Ok(());
    }
    let lanes: Vec<i64> = lanes.iter().copied().collect();
    // Claims lock no lanes. One that has begun is waited for here, and none can begin until this commits; so the next
    // statement, which must be another one, sees what is out.
    sqlx::query(schema.sql(
        "select from inbox.deliveries
         where lane = any($1) and state = 0 and not blocked and lane is not null order by id for update",
    ))
    .bind(&lanes)
    .execute(&mut *write)
    .await?;
    sqlx::query(schema.sql(
        "with first as materialized (
             select (select id from inbox.deliveries
                     where lane = locked.lane and state = 0 and lane is not null order by age, id limit 1) as id
             from unnest($1) as locked (lane)
             where not exists (
                 select from inbox.deliveries where lane = locked.lane and state = 1 and lane is not null)),
         held as (
             update inbox.deliveries set blocked = true
             where lane = any($1) and state = 0 and not blocked and lane is not null
                 and id not in (select id from first where id is not null))
         update inbox.deliveries set blocked = false where id in (select id from first) and blocked",
    ))
    .bind(&lanes)
    .execute(write)
    .await?;
    Ok(())
}

/// Nobody else stores into these lanes, nor completes what is in them, until this commits.
pub(super) async fn lock(write: &mut PgConnection, lanes: &BTreeSet<i64>) -> sqlx::Result<()> {
    if !lanes.is_empty() {
        let lock = sqlx::query("select pg_advisory_xact_lock(lane) from unnest($1) as lane");
        lock.bind(lanes.iter().copied().collect::<Vec<_>>()).execute(write).await?;
    }
    Ok(())
}

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

/// Of an ordered delivery: by its handler and object. Two that share a number by chance would wait for each other,
/// and nothing else.
fn lane(new: &NewEvent, delivery: &NewDelivery) -> Option<i64> {
    let hash = || hash(&[&delivery.handler, &OrderKey::of(&new.event).object]);
    let number = |hash: [u8; 32]| i64::from_be_bytes(std::array::from_fn(|at| hash[at]));
    delivery.ordered.then(|| number(hash()))
}

fn key(key: &EventKey) -> [u8; 32] {
    let generation = key.generation().to_string();
    // No account is not the same as one without a name.
    let of_account = if key.account().is_some() { "account" } else { "" };
    let account = key.account().unwrap_or_default();
    hash(&[key.endpoint(), of_account, account, key.id(), &generation])
}

fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that what is one part of one is never two of another.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
