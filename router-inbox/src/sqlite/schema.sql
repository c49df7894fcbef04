-- Event ids ascend in the order of storage.
create table events (
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
create table redelivered (
    id integer primary key autoincrement,
    event integer not null references events (id),
    event_id text not null,
    payload blob not null,
    signed_at integer
) strict;

create table deliveries (
    -- Ascends with the event, then with the order in which the event's deliveries were stored.
    id integer primary key,
    event integer not null references events (id),
    -- The payload to deliver, if it is not that of the event.
    redelivered integer references redelivered (id),
    -- The payload that came while the delivery was unfinished, to deliver if it ends as a dead letter.
    redelivered_since integer references redelivered (id),
    handler text not null,
    -- 0 waiting, 1 running, 2 done, 3 ignored, 4 dead letter, 5 discarded
    state integer not null default 0,
    attempts integer not null default 0,
    -- While waiting: when the delivery can be claimed. While running: when the lease expires.
    due integer not null,
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
create table newest_done (
    handler text not null,
    object text not null,
    recency integer not null,
    primary key (handler, object)
) strict, without rowid;

create index events_by_id on events (event_id);
create index redelivered_by_id on redelivered (event_id);
create index redelivered_of_event on redelivered (event);
-- Claimable deliveries. Finished ones are not in the index, so their number does not matter.
create index deliveries_due on deliveries (handler, due, id) where state <= 1 and blocked = 0;
create index deliveries_of_event on deliveries (event);
-- Of each lane: the waiting deliveries in order, the claimable one, and the running one.
create index deliveries_in_lane on deliveries (handler, object, sort_key, id) where state = 0 and object is not null;
create index deliveries_unblocked on deliveries (handler, object) where state = 0 and blocked = 0 and object is not null;
create index deliveries_running on deliveries (handler, object) where state = 1 and object is not null;
