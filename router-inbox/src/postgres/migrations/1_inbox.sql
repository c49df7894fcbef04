-- The current time in milliseconds since 1970. Declared stable although it advances, because an
-- index cannot be scanned up to a volatile value.
create function inbox.inbox_now() returns bigint language sql stable
    as $$ select (extract(epoch from clock_timestamp()) * 1000)::bigint $$;

-- Draws the ids of new events, which are numbered in the order of the caller, but inserted in the
-- order of their locks. A user needs no privilege for the sequence, because the function runs with
-- those of its owner.
create sequence inbox.event_ids;
create function inbox.next_event_ids(number integer) returns setof bigint
    language sql security definer set search_path = ''
    as $$ select nextval('inbox.event_ids') from generate_series(1, number) $$;

create table inbox.events (
    id bigint primary key,
    -- SHA-256 of everything that identifies an event, except its generation: an index entry of
    -- fixed size, however long the texts are.
    identity bytea not null,
    -- The text columns are for display and search. The event itself is in `payload`.
    endpoint text collate "C" not null,
    account text collate "C",
    event_id text collate "C" not null,
    generation bigint not null,
    type text collate "C" not null,
    object text collate "C" not null,
    payload bytea not null,
    -- All times are in milliseconds since 1970.
    signed_at bigint,
    -- Tells events with Stripe's test id apart.
    serial bigint,
    stored_at bigint not null,
    unique (identity, generation)
);

-- Events as they were redelivered, if a delivery needs their payload, or if their id is not that of
-- the stored event: a thin event and its snapshot event have one identity.
create table inbox.redelivered (
    id bigint generated always as identity primary key,
    event bigint not null references inbox.events (id),
    event_id text collate "C" not null,
    payload bytea not null,
    signed_at bigint
);

create table inbox.deliveries (
    -- Ascends with the event, then with the order in which the event's deliveries were stored.
    id bigint primary key,
    event bigint not null references inbox.events (id),
    -- The payload to deliver, if it is not that of the event.
    redelivered bigint references inbox.redelivered (id),
    -- The payload that came while the delivery was unfinished, to deliver if it ends as a dead letter.
    redelivered_since bigint references inbox.redelivered (id),
    handler text collate "C" not null,
    -- 0 waiting, 1 running, 2 done, 3 ignored, 4 dead letter, 5 discarded
    state smallint not null default 0,
    attempts integer not null default 0,
    -- While waiting: when the delivery can be claimed. While running: when the lease expires.
    due bigint not null,
    -- The delay with which the delivery was scheduled, in milliseconds: 0 for a delivery due at once,
    -- the delay of a retry, or the duration of a lease. A delivery that is due later than now plus its
    -- delay was scheduled before the server's clock was set back.
    delay bigint not null default 0,
    -- Fencing token of the last lease.
    token bigint not null default 0,
    -- Set for ordered deliveries. `lane` is a hash of handler and object; one delivery of a lane
    -- runs at a time, the one with the smallest (`sort_key`, `id`) first. `sort_key` is negative if
    -- the handler takes the newest event of an object only, and then -1 if the event has no time.
    lane bigint,
    sort_key bigint,
    -- Another delivery of the lane runs or goes first.
    blocked boolean not null default false,
    error text,
    ended_at bigint
-- Each row is updated about three times before it is finished, and claims have to skip the dead row
-- versions. So vacuum runs every 10,000 versions, rather than when a fifth of the table is dead.
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- The highest recency of the events of an object that a handler for the newest event has done.
create table inbox.newest_done (
    -- A hash of handler and object, see `done_key`.
    key bytea primary key,
    recency bigint not null
);

-- Unhandled events: no generation of them has a delivery.
create table inbox.unhandled (event bigint primary key references inbox.events (id) on delete cascade);

-- Each handler that has ever had a delivery; `ordered` is the order of its latest delivery: 0 for
-- none, 1 for the oldest first, 2 for the newest only.
create table inbox.handlers (name text collate "C" primary key, ordered smallint not null);

-- The running workers. A row is valid until it expires; the next report of any worker deletes expired
-- rows.
create table inbox.workers (
    name text collate "C" primary key,
    handlers text[] not null,
    expires_at bigint not null
);

-- Hash indexes, because a B-tree limits the length of its keys.
create index events_by_id on inbox.events using hash (event_id);
create index redelivered_by_id on inbox.redelivered using hash (event_id);
create index redelivered_of_event on inbox.redelivered (event);
-- Claimable deliveries. Finished ones are not in the index, so their number does not matter.
create index deliveries_due on inbox.deliveries (handler, due, id) where state <= 1 and not blocked;
create index deliveries_of_event on inbox.deliveries (event);
create index deliveries_redelivered on inbox.deliveries (redelivered) where redelivered is not null;
create index deliveries_redelivered_since on inbox.deliveries (redelivered_since) where redelivered_since is not null;
-- Of each lane: the waiting deliveries in order, the claimable one, and the running one.
create index deliveries_in_lane on inbox.deliveries (lane, sort_key, id) where state = 0 and lane is not null;
create index deliveries_unblocked on inbox.deliveries (lane) where state = 0 and not blocked and lane is not null;
create index deliveries_running on inbox.deliveries (lane) where state = 1 and lane is not null;
-- For the same reason, a B-tree of texts holds their first 100 characters.
--
-- The object id without the account, which precedes it if there is one.
create index events_of_object on inbox.events
    (left(case when account is null then object else substr(object, length(account) + 2) end, 100));
create index events_of_type on inbox.events (left(type, 100));
create index events_stored on inbox.events (stored_at, id) where generation = 0;
-- Dead letters and discarded deliveries.
create index deliveries_dead_or_discarded on inbox.deliveries (state, id) include (handler, event) where state >= 4;

-- Pairs each event with every generation of it, including itself.
create view inbox.generations as
    select one.id as event, other.id as other
    from inbox.events one join inbox.events other using (identity);

-- The identities of the events that were received with an id.
create function inbox.identities(id text) returns bytea[] language sql stable as $$
    select array(
        select identity from inbox.events where event_id = $1
        union
        select event.identity
        from inbox.redelivered again join inbox.events event on event.id = again.event where again.event_id = $1)
$$;

-- The key of a row in `newest_done`. The column `lane` is too short for it: if two hashes were
-- equal, an event could be taken for an outdated one. The length keeps ('ab', 'c') and ('a', 'bc')
-- apart.
create function inbox.done_key(handler text, object text) returns bytea language sql stable
    as $$ select sha256(convert_to(length($1) || ' ' || $1 || $2, 'UTF8')) $$;

-- The object by which an event is ordered. An event without an object is ordered by nothing, so its
-- own id takes the place of the object.
create function inbox.ordered_by(event inbox.events) returns text language sql immutable
    as $$ select coalesce(nullif($1.object, coalesce($1.account || '/', '')), 'event ' || $1.id) $$;

-- Both functions are volatile, so that their statements see what was committed before they are
-- called. A claim calls them for a delivery that it has locked. That can be a later version of the
-- row than the one that the claim's own statement sees.

create function inbox.is_outdated(handler text, object text, recency bigint) returns boolean language sql volatile as $$
    select exists (select from inbox.newest_done done where done.key = inbox.done_key($1, $2) and done.recency > $3)
$$;
create function inbox.redelivered_event(id bigint) returns inbox.redelivered language sql volatile strict
    as $$ select * from inbox.redelivered again where again.id = $1 $$;

-- Triggers maintain the tables for operators, so that they also cover what a version stores that
-- does not know these tables. The trigger functions run with the privileges of the tables' owner, so
-- that the user of such a version needs none for these tables.
--
-- Settings of the trigger functions: `force_generic_plan`, because the session's
-- `force_custom_plan` would plan their statements on each call, which takes longer than running
-- them; `enable_seqscan = off`, so that a plan made for a small table does not scan it once it is
-- large.

-- Deferred until commit, when the event's deliveries are stored too.
create function inbox.record_unhandled() returns trigger language plpgsql security definer
    set search_path = '' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    if not exists (select from inbox.deliveries where event = new.id) then
        insert into inbox.unhandled values (new.id);
    end if;
    return null;
end $$;
create constraint trigger record_unhandled after insert on inbox.events
    deferrable initially deferred for each row execute function inbox.record_unhandled();

-- Usually the handler is known already. Then nothing is written, so that no transaction waits for
-- another that stores deliveries of the same handler.
--
-- Only a redelivery adds deliveries to an event that may be unhandled.
create function inbox.record_deliveries() returns trigger language plpgsql security definer
    set search_path = '' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    insert into inbox.handlers
        select * from (
            select distinct on (handler)
                handler, case when lane is null then 0 when sort_key < 0 then 2 else 1 end as ordered
            from stored order by handler, id desc
        ) last
        where not exists (
            select from inbox.handlers known where known.name = last.handler and known.ordered = last.ordered)
    on conflict (name) do update set ordered = excluded.ordered;
    delete from inbox.unhandled where event in (select event from stored where redelivered is not null);
    return null;
end $$;
create trigger record_deliveries after insert on inbox.deliveries
    referencing new table as stored for each statement execute function inbox.record_deliveries();
