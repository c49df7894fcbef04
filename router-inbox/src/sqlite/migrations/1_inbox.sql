-- Event ids ascend in the order of storage.
create table stripe_inbox_events (
    id integer primary key autoincrement,
    -- SHA-256 of everything that identifies an event, except its generation.
    identity blob not null,
    endpoint text not null,
    -- Empty if the event has no connected account.
    account text not null,
    event_id text not null,
    generation integer not null,
    type text not null,
    object text not null,
    payload blob not null,
    -- All times are in milliseconds since 1970.
    signed_at integer,
    -- Tells events with Stripe's test id apart.
    serial integer,
    stored_at integer not null,
    unique (identity, generation)
) strict;

-- Events as they were redelivered, if a delivery needs their payload, or if their id is not that of
-- the stored event: a thin event and its snapshot event have one identity.
create table stripe_inbox_redelivered (
    id integer primary key autoincrement,
    event integer not null references stripe_inbox_events (id),
    event_id text not null,
    payload blob not null,
    signed_at integer
) strict;

create table stripe_inbox_deliveries (
    -- Ascends with the event, then with the order in which the event's deliveries were stored.
    id integer primary key,
    event integer not null references stripe_inbox_events (id),
    -- The payload to deliver, if it is not that of the event.
    redelivered integer references stripe_inbox_redelivered (id),
    -- The payload that came while the delivery was unfinished, to deliver if it ends as a dead letter.
    redelivered_since integer references stripe_inbox_redelivered (id),
    handler text not null,
    -- 0 waiting, 1 running, 2 done, 3 ignored, 4 dead letter, 5 discarded
    state integer not null default 0,
    attempts integer not null default 0,
    -- While waiting: when the delivery can be claimed. While running: when the lease expires.
    due integer not null,
    -- The delay with which the delivery was scheduled, in milliseconds: 0 for a delivery due at once,
    -- the delay of a retry, or the duration of a lease. A delivery that is due later than now plus its
    -- delay was scheduled before the clock was set back.
    delay integer not null default 0,
    -- Fencing token of the last lease.
    token integer not null default 0,
    -- Set for ordered deliveries. A handler and an object form a lane; one delivery of a lane runs
    -- at a time, the one with the smallest (`sort_key`, `id`) first. `sort_key` is negative if the
    -- handler takes the newest event of an object only, and then -1 if the event has no time.
    object text,
    sort_key integer,
    -- Another delivery of the lane runs or goes first.
    blocked integer not null default 0,
    error text,
    ended_at integer
) strict;

-- The highest recency of the events of an object that a handler for the newest event has done.
create table stripe_inbox_newest_done (
    handler text not null,
    object text not null,
    recency integer not null,
    primary key (handler, object)
) strict, without rowid;

-- Unhandled events: no generation of them has a delivery.
create table stripe_inbox_unhandled (event integer primary key) strict;

-- Each handler that has ever had a delivery; `ordered` is the order of its latest delivery: 0 for
-- none, 1 for the oldest first, 2 for the newest only.
create table stripe_inbox_handlers (name text primary key, ordered integer not null) strict, without rowid;

-- The running workers. A row is valid until it expires; the next report of any worker deletes expired
-- rows.
create table stripe_inbox_workers (
    name text primary key,
    -- The names of the handlers, as a JSON array.
    handlers text not null,
    expires_at integer not null
) strict, without rowid;

create index stripe_inbox_events_by_id on stripe_inbox_events (event_id);
-- The object id without the account, which precedes it if there is one.
create index stripe_inbox_events_of_object on stripe_inbox_events
    (case account when '' then object else substr(object, length(account) + 2) end);
create index stripe_inbox_events_of_type on stripe_inbox_events (type);
-- Covers the columns that a selection reads. In the table `stored_at` follows the payload, so
-- reading it there would read the payload's pages.
create index stripe_inbox_events_stored on stripe_inbox_events (stored_at, generation, type);
create index stripe_inbox_redelivered_by_id on stripe_inbox_redelivered (event_id);
create index stripe_inbox_redelivered_of_event on stripe_inbox_redelivered (event);
-- Claimable deliveries. Finished ones are not in the index, so their number does not matter.
create index stripe_inbox_deliveries_due on stripe_inbox_deliveries (handler, due, id)
    where state <= 1 and blocked = 0;
create index stripe_inbox_deliveries_of_event on stripe_inbox_deliveries (event);
-- Of each lane: the waiting deliveries in order, the claimable one, and the running one.
create index stripe_inbox_deliveries_in_lane on stripe_inbox_deliveries (handler, object, sort_key, id)
    where state = 0 and object is not null;
create index stripe_inbox_deliveries_unblocked on stripe_inbox_deliveries (handler, object)
    where state = 0 and blocked = 0 and object is not null;
create index stripe_inbox_deliveries_running on stripe_inbox_deliveries (handler, object)
    where state = 1 and object is not null;
-- Dead letters and discarded deliveries.
create index stripe_inbox_deliveries_dead_or_discarded on stripe_inbox_deliveries (state, id, handler, event)
    where state >= 4;

-- The identities of the events that were received with an id.
create view stripe_inbox_identities as
    select event_id, identity from stripe_inbox_events
    union all
    select r.event_id, e.identity from stripe_inbox_redelivered r join stripe_inbox_events e on e.id = r.event;

-- Pairs each event with every generation of it, including itself.
create view stripe_inbox_generations as
    select e.id as event, other.id as other, other.generation
    from stripe_inbox_events e join stripe_inbox_events other using (identity);

-- Triggers maintain the tables for operators, so that they also cover what a version stores that
-- does not know these tables.
create trigger stripe_inbox_event_stored after insert on stripe_inbox_events begin
    insert into stripe_inbox_unhandled values (new.id);
end;
create trigger stripe_inbox_event_purged after delete on stripe_inbox_events begin
    delete from stripe_inbox_unhandled where event = old.id;
end;
create trigger stripe_inbox_delivery_stored after insert on stripe_inbox_deliveries begin
    delete from stripe_inbox_unhandled where event = new.event;
    insert into stripe_inbox_handlers
        values (new.handler, case when new.object is null then 0 when new.sort_key < 0 then 2 else 1 end)
        on conflict do update set ordered = excluded.ordered where ordered <> excluded.ordered;
end;
