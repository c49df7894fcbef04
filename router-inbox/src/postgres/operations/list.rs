//! What is there, the newest first; and which events a selection means.
//!
//! Statements are planned each time, with what is asked for: what is not is no part of the plan.

use std::borrow::Cow;

use router_catalog::Pattern;
use sqlx::{PgConnection, Row as _};

use super::{
    super::{schema::Schema, writes::text},
    show::{delivery, event},
};
use crate::{
    DeliveryState,
    operations::{EventSelector, ListEntry, ListFilter},
    store::rows::{millis, number},
};

/// Numbers are given as rows come, and so the greatest is the newest.
pub(super) async fn list(
    read: &mut PgConnection,
    schema: &Schema,
    filter: &ListFilter,
) -> sqlx::Result<Vec<ListEntry>> {
    if filter.unhandled {
        unhandled(read, schema, filter).await
    } else {
        deliveries(read, schema, filter).await
    }
}

/// Deliveries that are so and as they are asked for. In one go, so that PostgreSQL begins where there is least.
macro_rules! deliveries {
    ($part:literal) => {
        concat!(
            "select delivery.id as number, handler, state, attempts, due, blocked, ended_at, error,
                 event_id, endpoint, account, generation, type, object, stored_at
             from inbox.deliveries delivery join inbox.events event on event.id = delivery.event
             where ",
            $part,
            " and ($2::bigint is null or delivery.id < $2)
                 and ($3::text is null or handler = $3)
                 and ($4::text is null or left(type, 100) = left($4, 100) and type = $4)
                 and ($5::text is null or starts_with(type, $5))
                 and ($6::text is null
                     or left(case when account is null then object else substr(object, length(account) + 2) end, 100)
                         = left($6, 100)
                     and case when account is null then object else substr(object, length(account) + 2) end = $6)
             order by delivery.id desc limit $7"
        )
    };
}

const IN_ANY_STATE: &str = deliveries!("(cardinality($1) = 0 or state = any($1))");

/// What is open or buried has indexes of its own, if it is asked for in their words.
const IN_FEW: [(DeliveryState, &str); 5] = [
    (
        DeliveryState::Waiting,
        deliveries!("state = any($1) and state <= 1 and not blocked and state = 0"),
    ),
    (
        DeliveryState::Waiting,
        deliveries!("state = any($1) and state = 0 and lane is not null and blocked"),
    ),
    (
        DeliveryState::Running,
        deliveries!("state = any($1) and state <= 1 and not blocked and state = 1"),
    ),
    (DeliveryState::Dead, deliveries!("state = any($1) and state = 4")),
    (DeliveryState::Discarded, deliveries!("state = any($1) and state = 5")),
];

async fn deliveries(
    read: &mut PgConnection,
    schema: &Schema,
    filter: &ListFilter,
) -> sqlx::Result<Vec<ListEntry>> {
    let states = &filter.states;
    let is_of_few = |state: &DeliveryState| IN_FEW.iter().any(|(few, _)| few == state);
    let parts: Vec<&'static str> = if !states.is_empty() && states.iter().all(is_of_few) {
        let wanted = IN_FEW.iter().filter(|(state, _)| states.contains(state));
        wanted.map(|(_, part)| *part).collect()
    } else {
        vec![IN_ANY_STATE]
    };
    let numbers: Vec<i16> =
        states.iter().filter_map(|state| number(*state).try_into().ok()).collect();
    let of_type = OfType::of(filter.event_type.as_deref());
    let mut listed = Vec::new();
    for part in parts {
        let rows = sqlx::query(schema.sql(part))
            .bind(&numbers)
            .bind(filter.before)
            .bind(filter.handler.as_deref().map(text))
            .bind(&of_type.exact)
            .bind(&of_type.prefix)
            .bind(filter.object.as_deref().map(text))
            .bind(limit(filter))
            .fetch_all(&mut *read)
            .await?;
        for row in &rows {
            let delivery = Some(delivery(row)?);
            listed.push(ListEntry { number: row.try_get("number")?, event: event(row)?, delivery });
        }
    }
    listed.sort_by_key(|listed| -listed.number);
    listed.truncate(filter.limit);
    Ok(listed)
}

async fn unhandled(
    read: &mut PgConnection,
    schema: &Schema,
    filter: &ListFilter,
) -> sqlx::Result<Vec<ListEntry>> {
    let of_type = OfType::of(filter.event_type.as_deref());
    let rows = sqlx::query(schema.sql(
        "select event.id as number, event_id, endpoint, account, generation, type, object, stored_at
         from inbox.unhandled join inbox.events event on event.id = unhandled.event
         where ($1::bigint is null or unhandled.event < $1)
             and ($2::text is null or left(type, 100) = left($2, 100) and type = $2)
             and ($3::text is null or starts_with(type, $3))
             and ($4::text is null
                 or left(case when account is null then object else substr(object, length(account) + 2) end, 100)
                     = left($4, 100)
                 and case when account is null then object else substr(object, length(account) + 2) end = $4)
         order by unhandled.event desc limit $5",
    ));
    let rows = rows
        .bind(filter.before)
        .bind(of_type.exact)
        .bind(of_type.prefix)
        .bind(filter.object.as_deref().map(text))
        .bind(limit(filter))
        .fetch_all(read)
        .await?;
    let listed = rows.iter().map(|row| {
        Ok(ListEntry { number: row.try_get("number")?, event: event(row)?, delivery: None })
    });
    listed.collect()
}

pub(super) async fn select(
    read: &mut PgConnection,
    schema: &Schema,
    selection: &EventSelector,
) -> sqlx::Result<Vec<i64>> {
    let of_type = OfType::of(selection.event_type.as_deref());
    let rows = sqlx::query(schema.sql(
        "select id from inbox.events
         where generation = 0
             and ($1::text is null or event_id = $1)
             and ($2::text is null or left(type, 100) = left($2, 100) and type = $2)
             and ($3::text is null or starts_with(type, $3))
             and ($4::bigint is null or stored_at >= (select inbox.inbox_now()) - $4)
             and ($5::bigint is null or stored_at <= (select inbox.inbox_now()) - $5)
         order by stored_at, id",
    ));
    let rows = rows
        .bind(selection.event_id.as_deref().map(text))
        .bind(of_type.exact)
        .bind(of_type.prefix)
        .bind(selection.since.map(millis))
        .bind(selection.until.map(millis))
        .fetch_all(read)
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// What a type must be, or begin with.
#[derive(Default)]
struct OfType<'t> {
    exact: Option<Cow<'t, str>>,
    prefix: Option<String>,
}

impl<'t> OfType<'t> {
    fn of(pattern: Option<&'t str>) -> Self {
        match pattern.map(Pattern::form) {
            None | Some(Pattern::All) => Self::default(),
            Some(Pattern::Exact(name)) => Self { exact: Some(text(name)), prefix: None },
            Some(Pattern::Prefix(prefix)) => {
                Self { exact: None, prefix: Some(format!("{}.", text(prefix))) }
            }
        }
    }
}

fn limit(filter: &ListFilter) -> i64 {
    i64::try_from(filter.limit).unwrap_or(i64::MAX)
}
