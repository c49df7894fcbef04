-- Event ids ascend in the order of storage.
create table events (
    id integer primary key autoincrement,
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
    stored_at integer not null,
    unique (event_id, endpoint, account, generation)
) strict;

create table deliveries (
    id integer primary key autoincrement,
    event integer not null references events (id),
    handler text not null,
    -- 0 waiting, 1 running, 2 done, 3 ignored, 4 dead letter, 5 discarded
    state integer not null default 0,
    attempts integer not null default 0,
    -- While waiting: when the delivery can be claimed. While running: when the lease expires.
    due integer not null,
    -- Fencing token of the last lease.
    token integer not null default 0,
    -- Set for ordered deliveries. A handler and an object form a lane; one delivery of a lane runs
    -- at a time, the one with the smallest (`sort_key`, `id`) first.
    object text,
    sort_key integer,
    -- Another delivery of the lane runs or goes first.
    blocked integer not null default 0,
    error text,
    ended_at integer
) strict;

-- Claimable deliveries. Finished ones are not in the index, so their number does not matter.
create index deliveries_due on deliveries (handler, due, id) where state <= 1 and blocked = 0;
create index deliveries_of_event on deliveries (event);
-- Of each lane: the waiting deliveries in order, the claimable one, and the running one.
create index deliveries_in_lane on deliveries (handler, object, sort_key, id) where state = 0 and object is not null;
create index deliveries_unblocked on deliveries (handler, object) where state = 0 and blocked = 0 and object is not null;
create index deliveries_running on deliveries (handler, object) where state = 1 and object is not null;
