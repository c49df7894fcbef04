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
    Filter, Listed, Selection, State,
    store::rows::{millis, number},
};

/// Numbers are given as rows come, and so the greatest is the newest.
pub(super) async fn list(
    read: &mut PgConnection,
    schema: &Schema,
    filter: &Filter,
) -> sqlx::Result<Vec<Listed>> {
    if filter.unhandled {
        unhandled(read, schema, filter).await
    } else {
        deliveries(read, schema, filter).await
    }
}

/// What is open or buried is in indexes that have nothing else. A state of those has a part of its own, which is in
/// order already where its index is.
async fn deliveries(
    read: &mut PgConnection,
    schema: &Schema,
    filter: &Filter,
) -> sqlx::Result<Vec<Listed>> {
    let of_type = OfType::of(filter.event_type.as_deref());
    let states: Vec<i16> =
        filter.states.iter().filter_map(|state| number(*state).try_into().ok()).collect();
    let rows = sqlx::query(schema.sql(
        "select delivery.id as number, handler, state, attempts, due, blocked, ended_at, error,
             event_id, endpoint, account, generation, type, object, stored_at
         from (
             select * from inbox.deliveries where not $2 and (cardinality($1) = 0 or state = any($1))
             union all
             select * from inbox.deliveries where $2 and 0 = any($1) and state <= 1 and not blocked and state = 0
             union all
             select * from inbox.deliveries
             where $2 and 0 = any($1) and state = 0 and lane is not null and blocked
             union all
             select * from inbox.deliveries where $2 and 1 = any($1) and state <= 1 and not blocked and state = 1
             union all
             select * from inbox.deliveries where $2 and 4 = any($1) and state = 4
             union all
             select * from inbox.deliveries where $2 and 5 = any($1) and state = 5
         ) delivery
         join inbox.events event on event.id = delivery.event
         where ($3::bigint is null or delivery.id < $3)
             and ($4::text is null or handler = $4)
             and ($5::text is null or left(type, 100) = left($5, 100) and type = $5)
             and ($6::text is null or starts_with(type, $6))
             and ($7::text is null
                 or left(case when account is null then object else substr(object, length(account) + 2) end, 100)
                     = left($7, 100)
                 and case when account is null then object else substr(object, length(account) + 2) end = $7)
         order by delivery.id desc limit $8",
    ));
    let rows = rows
        .bind(states)
        .bind(are_few(&filter.states))
        .bind(filter.before)
        .bind(filter.handler.as_deref().map(text))
        .bind(of_type.exact)
        .bind(of_type.prefix)
        .bind(filter.object.as_deref().map(text))
        .bind(limit(filter))
        .fetch_all(read)
        .await?;
    let listed = rows.iter().map(|row| {
        let delivery = Some(delivery(row)?);
        Ok(Listed { number: row.try_get("number")?, event: event(row)?, delivery })
    });
    listed.collect()
}

async fn unhandled(
    read: &mut PgConnection,
    schema: &Schema,
    filter: &Filter,
) -> sqlx::Result<Vec<Listed>> {
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
        Ok(Listed { number: row.try_get("number")?, event: event(row)?, delivery: None })
    });
    listed.collect()
}

pub(super) async fn select(
    read: &mut PgConnection,
    schema: &Schema,
    selection: &Selection,
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

/// Whether they are states of what is open or buried.
fn are_few(states: &[State]) -> bool {
    !states.is_empty() && !states.iter().any(|state| matches!(state, State::Done | State::Ignored))
}

fn limit(filter: &Filter) -> i64 {
    i64::try_from(filter.limit).unwrap_or(i64::MAX)
}
