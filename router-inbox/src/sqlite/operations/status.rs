//! How much there is, without a look at what has ended well.

use std::{collections::BTreeMap, time::Duration};

use sqlx::{Row as _, SqliteConnection};

use crate::operations::{BacklogCount, HandlerStatus, InboxStatus};

/// How many deliveries, and the event of the oldest: events are numbered as they come.
#[derive(Default)]
struct Counted {
    number: u64,
    oldest: Option<i64>,
}

#[derive(Default)]
struct OfHandler {
    waiting: Counted,
    running: Counted,
    dead: Counted,
    due: u64,
}

/// Within a transaction, so that all of it is as of one moment.
pub(super) async fn status(read: &mut SqliteConnection, now: i64) -> sqlx::Result<InboxStatus> {
    // SQLite counts all of a table by the pages of an index, and does not read what is in them.
    let counts = sqlx::query(
        "select (select count(*) from events), (select count(*) from unhandled), (select count(*) from deliveries)",
    );
    let counts = counts.fetch_one(&mut *read).await?;
    let mut status = InboxStatus {
        events: counts.try_get(0)?,
        unhandled: counts.try_get(1)?,
        ..InboxStatus::default()
    };
    let mut finished: u64 = counts.try_get(2)?;
    for (name, of_handler) in by_handler(read, now).await? {
        let OfHandler { waiting, running, dead, due } = of_handler;
        finished -= waiting.number + running.number + dead.number;
        status.handlers.push(HandlerStatus {
            handler: name.into(),
            waiting: count(read, waiting, now).await?,
            running: count(read, running, now).await?,
            dead: count(read, dead, now).await?,
            due,
        });
    }
    Ok(InboxStatus { finished, ..status })
}

async fn by_handler(
    read: &mut SqliteConnection,
    now: i64,
) -> sqlx::Result<BTreeMap<String, OfHandler>> {
    let mut handlers = BTreeMap::<String, OfHandler>::new();
    for row in sqlx::query("select name from handlers").fetch_all(&mut *read).await? {
        handlers.insert(row.try_get(0)?, OfHandler::default());
    }
    let open = sqlx::query(
        "select handler, sum(state = 0), min(case state when 0 then event end),
             sum(state = 1), min(case state when 1 then event end), sum(due <= ?1)
         from deliveries where state <= 1 and blocked = 0 group by handler",
    );
    for row in open.bind(now).fetch_all(&mut *read).await? {
        let handler = handlers.entry(row.try_get(0)?).or_default();
        handler.waiting = Counted { number: row.try_get(1)?, oldest: row.try_get(2)? };
        handler.running = Counted { number: row.try_get(3)?, oldest: row.try_get(4)? };
        handler.due = row.try_get(5)?;
    }
    let blocked = sqlx::query(
        "select handler, count(*), min(event) from deliveries
         where state = 0 and object is not null and blocked = 1 group by handler",
    );
    for row in blocked.fetch_all(&mut *read).await? {
        let waiting = &mut handlers.entry(row.try_get(0)?).or_default().waiting;
        waiting.number += row.try_get::<u64, _>(1)?;
        let oldest: i64 = row.try_get(2)?;
        waiting.oldest = Some(waiting.oldest.map_or(oldest, |other| other.min(oldest)));
    }
    let dead = sqlx::query(
        "select handler, count(*), min(event) from deliveries where state >= 4 and state = 4 group by handler",
    );
    for row in dead.fetch_all(&mut *read).await? {
        let handler = handlers.entry(row.try_get(0)?).or_default();
        handler.dead = Counted { number: row.try_get(1)?, oldest: row.try_get(2)? };
    }
    Ok(handlers)
}

async fn count(
    read: &mut SqliteConnection,
    Counted { number, oldest }: Counted,
    now: i64,
) -> sqlx::Result<BacklogCount> {
    let Some(oldest) = oldest else { return Ok(BacklogCount { number, oldest: None }) };
    let row = sqlx::query("select stored_at from events where id = ?1").bind(oldest);
    let stored_at: i64 = row.fetch_one(&mut *read).await?.try_get(0)?;
    let age = u64::try_from(now.saturating_sub(stored_at)).unwrap_or(0);
    Ok(BacklogCount { number, oldest: Some(Duration::from_millis(age)) })
}
