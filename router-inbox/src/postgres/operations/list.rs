//! Lists deliveries and unhandled events, newest first, and selects events.
//!
//! Statements are planned with the values of their parameters, so conditions on an absent filter
//! (`$3::text is null or …`) are not part of the plan.

use std::borrow::Cow;

use router_catalog::Pattern;
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{
    super::{number, schema::Schema, writes::replace_nul},
    show::{delivery, event},
};
use crate::{
    operations::{EventSelector, ListEntry, ListFilter, SelectedDelivery},
    store::{
        DeliveryState,
        erase::json_string,
        rows::{millis, state},
    },
};

/// Lists what matches the filter, newest first: ids ascend in the order in which rows are stored.
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

/// The query for deliveries that satisfy `$part` and the filter. One statement for all filters, so
/// that PostgreSQL starts with the most selective one.
macro_rules! deliveries_query {
    ($part:literal) => {
        concat!(
            "select delivery.id as number, handler, state, attempts, token, due, blocked, ended_at,
                 claimed_at, claimed_by, case when $8 then history::text end as history,
                 case when $8 then error end as error,
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
                 and ($9::text is null or identity = any(inbox.identities($9)))
                 and ($10::text is null or strpos(error, $10) > 0)
                 and ($11::bigint is null or stored_at >= (select inbox.inbox_now()) - $11)
                 and ($12::bigint is null or ended_at <= (select inbox.inbox_now()) - $12)
             order by delivery.id desc limit $7"
        )
    };
}

const IN_ANY_STATE: &str = deliveries_query!("(cardinality($1) = 0 or state = any($1))");

/// The states with partial indexes of their own, and the queries that repeat an index's condition
/// literally, which PostgreSQL needs to use the index.
const IN_INDEXED_STATE: [(DeliveryState, &str); 5] = [
    (
        DeliveryState::Waiting,
        deliveries_query!("state = any($1) and state <= 1 and not blocked and state = 0"),
    ),
    (
        DeliveryState::Waiting,
        deliveries_query!("state = any($1) and state = 0 and lane is not null and blocked"),
    ),
    (
        DeliveryState::Running,
        deliveries_query!("state = any($1) and state <= 1 and not blocked and state = 1"),
    ),
    (DeliveryState::Dead, deliveries_query!("state = any($1) and state = 4")),
    (DeliveryState::Discarded, deliveries_query!("state = any($1) and state = 5")),
];

async fn deliveries(
    read: &mut PgConnection,
    schema: &Schema,
    filter: &ListFilter,
) -> sqlx::Result<Vec<ListEntry>> {
    let rows = delivery_rows(read, schema, filter, true).await?;
    let listed = rows.iter().map(|row| {
        let delivery = Some(delivery(row)?);
        Ok(ListEntry { number: row.try_get("number")?, event: event(row)?, delivery })
    });
    listed.collect()
}

/// Returns the deliveries that match the filter, oldest first.
pub(super) async fn select_deliveries(
    read: &mut PgConnection,
    schema: &Schema,
    filter: &ListFilter,
) -> sqlx::Result<Vec<SelectedDelivery>> {
    if filter.unhandled {
        return Ok(Vec::new());
    }
    let rows = delivery_rows(read, schema, filter, false).await?;
    rows.iter().rev().map(selected).collect()
}

fn selected(row: &PgRow) -> sqlx::Result<SelectedDelivery> {
    Ok(SelectedDelivery {
        number: row.try_get("number")?,
        token: row.try_get("token")?,
        event_id: row.try_get("event_id")?,
        endpoint: row.try_get("endpoint")?,
        account: row.try_get("account")?,
        generation: number(row, "generation")?,
        handler: row.try_get::<String, _>("handler")?.into(),
        state: state(row.try_get::<i16, _>("state")?.into())?,
        attempts: row.try_get::<i32, _>("attempts")?.unsigned_abs(),
    })
}

/// Returns the rows of the deliveries that match the filter, newest first, with or without their
/// errors and histories.
async fn delivery_rows(
    read: &mut PgConnection,
    schema: &Schema,
    filter: &ListFilter,
    with_texts: bool,
) -> sqlx::Result<Vec<PgRow>> {
    let states = &filter.states;
    let is_indexed =
        |state: &DeliveryState| IN_INDEXED_STATE.iter().any(|(other, _)| other == state);
    let queries: Vec<&'static str> = if !states.is_empty() && states.iter().all(is_indexed) {
        let wanted = IN_INDEXED_STATE.iter().filter(|(state, _)| states.contains(state));
        wanted.map(|(_, query)| *query).collect()
    } else {
        vec![IN_ANY_STATE]
    };
    let numbers: Vec<i16> = states.iter().map(|state| state.number()).collect();
    let event_type = TypeFilter::new(filter.event_type.as_deref());
    let mut rows = Vec::new();
    for query in queries {
        let matching = sqlx::query(schema.sql(query))
            .bind(&numbers)
            .bind(filter.before)
            .bind(filter.handler.as_deref().map(replace_nul))
            .bind(&event_type.exact)
            .bind(&event_type.prefix)
            .bind(filter.object.as_deref().map(replace_nul))
            .bind(limit(filter))
            .bind(with_texts)
            .bind(filter.event_id.as_deref().map(replace_nul))
            .bind(filter.error.as_deref().map(replace_nul))
            .bind(filter.max_age.map(millis))
            .bind(filter.min_ended_age.map(millis));
        for row in matching.fetch_all(&mut *read).await? {
            rows.push((row.try_get::<i64, _>("number")?, row));
        }
    }
    rows.sort_by_key(|(number, _)| -number);
    rows.truncate(filter.limit);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

async fn unhandled(
    read: &mut PgConnection,
    schema: &Schema,
    filter: &ListFilter,
) -> sqlx::Result<Vec<ListEntry>> {
    let event_type = TypeFilter::new(filter.event_type.as_deref());
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
             and ($6::text is null or identity = any(inbox.identities($6)))
             and ($7::bigint is null or stored_at >= (select inbox.inbox_now()) - $7)
         order by unhandled.event desc limit $5",
    ));
    let rows = rows
        .bind(filter.before)
        .bind(event_type.exact)
        .bind(event_type.prefix)
        .bind(filter.object.as_deref().map(replace_nul))
        .bind(limit(filter))
        .bind(filter.event_id.as_deref().map(replace_nul))
        .bind(filter.max_age.map(millis))
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
    let event_type = TypeFilter::new(selection.event_type.as_deref());
    let rows = sqlx::query(schema.sql(
        "select id from inbox.events event
         where generation = 0
             and ($1::text is null or identity = any(inbox.identities($1)))
             and ($2::text is null or left(type, 100) = left($2, 100) and type = $2)
             and ($3::text is null or starts_with(type, $3))
             and ($4::bigint is null or stored_at >= (select inbox.inbox_now()) - $4)
             and ($5::bigint is null or stored_at <= (select inbox.inbox_now()) - $5)
             and ($6::text is null
                 or left(case when account is null then object else substr(object, length(account) + 2) end, 100)
                     = left($6, 100)
                 and case when account is null then object else substr(object, length(account) + 2) end = $6)
             and ($7::bytea is null or position($7 in payload) > 0 or exists (
                 select from inbox.redelivered again
                 where again.event = event.id and position($7 in again.payload) > 0))
         order by stored_at, id",
    ));
    let rows = rows
        .bind(selection.event_id.as_deref().map(replace_nul))
        .bind(event_type.exact)
        .bind(event_type.prefix)
        .bind(selection.max_age.map(millis))
        .bind(selection.min_age.map(millis))
        .bind(selection.object.as_deref().map(replace_nul))
        .bind(selection.mentions.as_deref().map(json_string))
        .fetch_all(read)
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// A filter of event types: the exact type or a prefix, or neither for all types.
#[derive(Default)]
struct TypeFilter<'t> {
    exact: Option<Cow<'t, str>>,
    prefix: Option<String>,
}

impl<'t> TypeFilter<'t> {
    fn new(pattern: Option<&'t str>) -> Self {
        match pattern.map(Pattern::parse_unchecked) {
            None | Some(Pattern::All) => Self::default(),
            Some(Pattern::Exact(name)) => Self { exact: Some(replace_nul(name)), prefix: None },
            Some(Pattern::Prefix(prefix)) => {
                Self { exact: None, prefix: Some(format!("{}.", replace_nul(prefix))) }
            }
        }
    }
}

fn limit(filter: &ListFilter) -> i64 {
    i64::try_from(filter.limit).unwrap_or(i64::MAX)
}
