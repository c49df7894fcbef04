-- The time, in milliseconds since 1970. Stable, although time passes: otherwise no index could be read up to now.
create function inbox.inbox_now() returns bigint language sql stable
    as $$ select (extract(epoch from clock_timestamp()) * 1000)::bigint $$;

create table inbox.events (
    id bigint generated always as identity primary key,
    -- SHA-256 of what says which event it is, so that it fits an index however long that is.
    key bytea not null unique,
    -- Texts are for people and for looking things up. The event is in its payload.
    endpoint text collate "C" not null,
    account text collate "C",
    event_id text collate "C" not null,
    generation bigint not null,
    type text collate "C" not null,
    object text collate "C" not null,
    payload bytea not null,
    -- All times are milliseconds since 1970.
    signed_at bigint,
    stored_at bigint not null
);

create table inbox.deliveries (
    id bigint generated always as identity primary key,
    event bigint not null references inbox.events (id),
    handler text collate "C" not null,
    -- 0 waiting, 1 running, 2 done, 3 ignored, 4 dead
    state smallint not null default 0,
    attempts integer not null default 0,
    -- Waiting: from when on it can be claimed. Running: until when the lease lasts.
    due bigint not null,
    -- Of the last lease.
    token bigint not null default 0,
    -- Of one that is ordered: a hash of its handler and object, of which one is out at a time, and its place there.
    lane bigint,
    age bigint,
    -- Another of its lane goes first.
    blocked boolean not null default false,
    error text,
    ended_at bigint
-- A row is written anew some three times until it has ended. What that leaves behind is in the way of claims, so it
-- is not to wait until it is a fifth of the table.
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- Of any length, which the other kind of index is not for.
create index events_by_id on inbox.events using hash (event_id);
-- What can be claimed; how much has ended makes no difference.
create index deliveries_due on inbox.deliveries (handler, due, id) where state <= 1 and not blocked;
create index deliveries_of_event on inbox.deliveries (event);
-- Who is next, who is first, and who is out.
create index deliveries_in_lane on inbox.deliveries (lane, age, id) where state = 0 and lane is not null;
create index deliveries_first on inbox.deliveries (lane) where state = 0 and not blocked and lane is not null;
create index deliveries_out on inbox.deliveries (lane) where state = 1 and lane is not null;
