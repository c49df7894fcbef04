-- The number of an event says in which order they came.
create table events (
    id integer primary key autoincrement,
    endpoint text not null,
    -- Empty: the event names no connected account.
    account text not null,
    event_id text not null,
    generation integer not null,
    type text not null,
    object text not null,
    payload blob not null,
    -- All times are milliseconds since 1970.
    signed_at integer,
    stored_at integer not null,
    unique (event_id, endpoint, account, generation)
) strict;

create table deliveries (
    id integer primary key autoincrement,
    event integer not null references events (id),
    handler text not null,
    -- 0 waiting, 1 running, 2 done, 3 ignored, 4 dead
    state integer not null default 0,
    attempts integer not null default 0,
    -- Waiting: from when on it can be claimed. Running: until when the lease lasts.
    due integer not null,
    -- Of the last lease.
    token integer not null default 0,
    -- Of one that is ordered: by what it is put in order.
    object text,
    age integer,
    -- Another of its handler and object goes first.
    blocked integer not null default 0,
    error text,
    ended_at integer
) strict;

-- What can be claimed; how much has ended makes no difference.
create index deliveries_due on deliveries (handler, due, id) where state <= 1 and blocked = 0;
create index deliveries_of_event on deliveries (event);
-- Who is next, who is first, and who is out.
create index deliveries_in_order on deliveries (handler, object, age, id) where state = 0 and object is not null;
create index deliveries_first on deliveries (handler, object) where state = 0 and blocked = 0 and object is not null;
create index deliveries_out on deliveries (handler, object) where state = 1 and object is not null;
