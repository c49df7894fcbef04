-- The current time in milliseconds since 1970. Declared stable although it advances, because an
-- index cannot be scanned up to a volatile value.
create function inbox.inbox_now() returns bigint language sql stable
    as $$ select (extract(epoch from clock_timestamp()) * 1000)::bigint $$;

create table inbox.events (
    id bigint generated always as identity primary key,
    -- SHA-256 of everything that identifies an event: an index entry of fixed size, however long
    -- the texts are.
    key bytea not null unique,
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
    stored_at bigint not null
);

create table inbox.deliveries (
    id bigint generated always as identity primary key,
    event bigint not null references inbox.events (id),
    handler text collate "C" not null,
    -- 0 waiting, 1 running, 2 done, 3 ignored, 4 dead letter, 5 discarded
    state smallint not null default 0,
    attempts integer not null default 0,
    -- While waiting: when the delivery can be claimed. While running: when the lease expires.
    due bigint not null,
    -- Fencing token of the last lease.
    token bigint not null default 0,
    -- Set for ordered deliveries. `lane` is a hash of handler and object; one delivery of a lane
    -- runs at a time, the one with the smallest (`sort_key`, `id`) first.
    lane bigint,
    sort_key bigint,
    -- Another delivery of the lane runs or goes first.
    blocked boolean not null default false,
    error text,
    ended_at bigint
-- Each row is updated about three times before it is finished, and claims have to skip the dead row
-- versions. So vacuum runs every 10,000 versions, rather than when a fifth of the table is dead.
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- A hash index, because a B-tree limits the length of its keys.
create index events_by_id on inbox.events using hash (event_id);
-- Claimable deliveries. Finished ones are not in the index, so their number does not matter.
create index deliveries_due on inbox.deliveries (handler, due, id) where state <= 1 and not blocked;
create index deliveries_of_event on inbox.deliveries (event);
-- Of each lane: the waiting deliveries in order, the claimable one, and the running one.
create index deliveries_in_lane on inbox.deliveries (lane, sort_key, id) where state = 0 and lane is not null;
create index deliveries_unblocked on inbox.deliveries (lane) where state = 0 and not blocked and lane is not null;
create index deliveries_running on inbox.deliveries (lane) where state = 1 and lane is not null;
