//! Counts events and deliveries without reading the finished ones.

use std::collections::BTreeMap;

use sqlx::{Row as _, SqliteConnection};

use super::super::{paused, workers};
use crate::{
    operations::{BacklogCount, HandlerStatus, InboxStatus},
    store::rows::elapsed,
};

/// A number of deliveries and the id of the oldest one's event. Event ids ascend in the order of
/// storage.
#[derive(Default)]
struct Tally {
    number: u64,
    oldest: Option<i64>,
}

#[derive(Default)]
struct HandlerTallies {
    waiting: Tally,
    running: Tally,
    dead: Tally,
    due: u64,
    /// The earliest time at which a delivery is or becomes due.
    first_due: Option<i64>,
}

/// Computes the status. The caller provides a transaction whose statements read one snapshot.
pub(super) async fn status(read: &mut SqliteConnection, now: i64) -> sqlx::Result<InboxStatus> {
    // SQLite counts all rows of a table from the page headers of an index, without reading the
    // rows.
    let counts = sqlx::query(
        "select (select count(*) from stripe_inbox_events), (select count(*) from stripe_inbox_unhandled),
             (select count(*) from stripe_inbox_deliveries)",
    );
    let counts = counts.fetch_one(&mut *read).await?;
    let mut status = InboxStatus {
        events: counts.try_get(0)?,
        unhandled: counts.try_get(1)?,
        workers: Some(workers::running(read, now).await?),
        paused: paused::list(read).await?,
        ..InboxStatus::default()
    };
    let mut finished: u64 = counts.try_get(2)?;
    for (name, tallies) in by_handler(read, now).await? {
        let HandlerTallies { waiting, running, dead, due, first_due } = tallies;
        finished -= waiting.number + running.number + dead.number;
        status.handlers.push(HandlerStatus {
            handler: name.into(),
            waiting: count(read, waiting, now).await?,
            running: count(read, running, now).await?,
            dead: count(read, dead, now).await?,
            due,
            oldest_due: first_due.and_then(|due| elapsed(now - due)),
        });
    }
    Ok(InboxStatus { finished, ..status })
}

async fn by_handler(
    read: &mut SqliteConnection,
    now: i64,
) -> sqlx::Result<BTreeMap<String, HandlerTallies>> {
    let mut handlers = BTreeMap::<String, HandlerTallies>::new();
    for row in sqlx::query("select name from stripe_inbox_handlers").fetch_all(&mut *read).await? {
        handlers.insert(row.try_get(0)?, HandlerTallies::default());
    }
    let open = sqlx::query(
        "select handler, sum(state = 0), min(case state when 0 then event end),
             sum(state = 1), min(case state when 1 then event end), sum(due <= ?1), min(due)
         from stripe_inbox_deliveries where state <= 1 and blocked = 0 group by handler",
    );
    for row in open.bind(now).fetch_all(&mut *read).await? {
        let handler = handlers.entry(row.try_get(0)?).or_default();
        handler.waiting = Tally { number: row.try_get(1)?, oldest: row.try_get(2)? };
        handler.running = Tally { number: row.try_get(3)?, oldest: row.try_get(4)? };
        (handler.due, handler.first_due) = (row.try_get(5)?, row.try_get(6)?);
    }
    let blocked = sqlx::query(
        "select handler, count(*), min(event) from stripe_inbox_deliveries
         where state = 0 and object is not null and blocked = 1 group by handler",
    );
    for row in blocked.fetch_all(&mut *read).await? {
        let waiting = &mut handlers.entry(row.try_get(0)?).or_default().waiting;
        waiting.number += row.try_get::<u64, _>(1)?;
        let oldest: i64 = row.try_get(2)?;
        waiting.oldest = Some(waiting.oldest.map_or(oldest, |other| other.min(oldest)));
    }
    let dead = sqlx::query(
        "select handler, count(*), min(event) from stripe_inbox_deliveries
         where state >= 4 and state = 4 group by handler",
    );
    for row in dead.fetch_all(&mut *read).await? {
        let handler = handlers.entry(row.try_get(0)?).or_default();
        handler.dead = Tally { number: row.try_get(1)?, oldest: row.try_get(2)? };
    }
    Ok(handlers)
}

async fn count(
    read: &mut SqliteConnection,
    Tally { number, oldest }: Tally,
    now: i64,
) -> sqlx::Result<BacklogCount> {
    let Some(oldest) = oldest else { return Ok(BacklogCount { number, oldest: None }) };
    let row = sqlx::query("select stored_at from stripe_inbox_events where id = ?1").bind(oldest);
    let stored_at: i64 = row.fetch_one(&mut *read).await?.try_get(0)?;
    let age = elapsed(now.saturating_sub(stored_at)).unwrap_or_default();
    Ok(BacklogCount { number, oldest: Some(age) })
}
