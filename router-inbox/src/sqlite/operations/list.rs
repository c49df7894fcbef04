//! What is there, the newest first; and which events a selection means.

use router_catalog::Pattern;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::{
    super::{millis, number},
    show::{delivery, event},
};
use crate::{Filter, Listed, Selection, State};

/// Numbers are given as rows come, and so the greatest is the newest.
pub(super) async fn list(
    read: &mut SqliteConnection,
    filter: &Filter,
) -> sqlx::Result<Vec<Listed>> {
    let mut query = QueryBuilder::new(
        "select e.event_id, e.endpoint, e.account, e.generation, e.type, e.object, e.stored_at, ",
    );
    // A cross join has SQLite begin with its left side, from its end on, so that it is done once it has enough. Where
    // that would be few of many, they are looked up before.
    let of_row = if filter.unhandled {
        query.push(
            "u.event as number from unhandled u cross join events e on e.id = u.event where true",
        );
        "u.event"
    } else {
        query.push(
            "d.id as number, handler, state, attempts, due, blocked, ended_at, error
             from deliveries d cross join events e on e.id = d.event where true",
        );
        push_states(&mut query, &filter.states);
        if let Some(handler) = &filter.handler {
            query.push(" and handler = ").push_bind(handler.clone());
        }
        "d.id"
    };
    if let Some(object) = &filter.object {
        let of_object = match filter.unhandled {
            true => " and u.event in",
            false => " and d.event in",
        };
        query.push(of_object);
        query.push(
            " (select id from events
              where case account when '' then object else substr(object, length(account) + 2) end = ",
        );
        query.push_bind(object.clone()).push(")");
    }
    push_type(&mut query, filter.event_type.as_deref());
    if let Some(before) = filter.before {
        query.push(" and ").push(of_row).push(" < ").push_bind(before);
    }
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    query.push(" order by number desc limit ").push_bind(limit);
    let rows = query.build().fetch_all(read).await?;
    let listed = rows.iter().map(|row| {
        let delivery = if filter.unhandled { None } else { Some(delivery(row)?) };
        Ok(Listed { number: row.try_get("number")?, event: event(row)?, delivery })
    });
    listed.collect()
}

pub(super) async fn select(
    read: &mut SqliteConnection,
    selection: &Selection,
    now: i64,
) -> sqlx::Result<Vec<i64>> {
    let mut query = QueryBuilder::new("select e.id from events e where generation = 0");
    if let Some(event_id) = &selection.event_id {
        query.push(" and event_id = ").push_bind(event_id.clone());
    }
    push_type(&mut query, selection.event_type.as_deref());
    if let Some(since) = selection.since {
        query.push(" and stored_at >= ").push_bind(now.saturating_sub(millis(since)));
    }
    if let Some(until) = selection.until {
        query.push(" and stored_at <= ").push_bind(now.saturating_sub(millis(until)));
    }
    query.push(" order by e.stored_at, e.id");
    let rows = query.build().fetch_all(read).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// What is open or buried has indices of its own; of what has ended well there is mostly enough at the end.
fn push_states(query: &mut QueryBuilder<Sqlite>, states: &[State]) {
    if states.is_empty() {
        return;
    }
    let numbers: Vec<_> = states.iter().map(|state| number(*state).to_string()).collect();
    let numbers = numbers.join(", ");
    query.push(format_args!(" and d.state in ({numbers})"));
    if !states.iter().any(|state| matches!(state, State::Done | State::Ignored)) {
        query.push(format_args!(
            " and d.id in (
                 select id from deliveries where state <= 1 and blocked = 0 and state in ({numbers})
                 union all
                 select id from deliveries
                 where state = 0 and object is not null and blocked = 1 and state in ({numbers})
                 union all
                 select id from deliveries where state >= 4 and state in ({numbers}))"
        ));
    }
}

fn push_type(query: &mut QueryBuilder<Sqlite>, event_type: Option<&str>) {
    match event_type.map(Pattern::form) {
        None | Some(Pattern::All) => {}
        Some(Pattern::Exact(name)) => {
            query.push(" and e.type = ").push_bind(name.to_owned());
        }
        // A slash is what comes after a dot.
        Some(Pattern::Prefix(prefix)) => {
            query.push(" and e.type > ").push_bind(format!("{prefix}."));
            query.push(" and e.type < ").push_bind(format!("{prefix}/"));
        }
    }
}
