-- What people who look for something ask for. All of it is kept by the tables themselves, so that an older version,
-- which knows nothing of it, keeps it too.

-- Without the account, which stands before the object's id where there is one.
create index events_of_object on events (case account when '' then object else substr(object, length(account) + 2) end);
create index events_of_type on events (type);
-- Has all that a selection asks for: what stands behind a payload is far to read.
create index events_stored on events (stored_at, generation, type);
-- Dead letters, and what was discarded.
create index deliveries_buried on deliveries (state, id, handler, event) where state >= 4;

-- The events of which no generation was for any handler.
create table unhandled (event integer primary key) strict;
insert into unhandled select id from events where not exists (select 1 from deliveries where event = events.id);

-- Each handler that has had a delivery, and whether its last one was ordered.
create table handlers (name text primary key, ordered integer not null) strict, without rowid;
insert into handlers
    select handler, object is not null from deliveries where id in (select max(id) from deliveries group by handler);

create trigger events_stored after insert on events begin
    insert into unhandled values (new.id);
end;
create trigger events_purged after delete on events begin
    delete from unhandled where event = old.id;
end;
create trigger deliveries_stored after insert on deliveries begin
    delete from unhandled where event = new.event;
    insert into handlers values (new.handler, new.object is not null)
        on conflict do update set ordered = excluded.ordered where ordered <> excluded.ordered;
end;
