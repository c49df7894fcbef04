-- Tables and indexes for the operations: status, list, replay, purge.
--
-- Triggers maintain the tables, so that events stored by an older version are included.

-- The object id without the account, which precedes it if there is one.
create index events_of_object on events (case account when '' then object else substr(object, length(account) + 2) end);
create index events_of_type on events (type);
-- Covers the columns that a selection reads. In the table `stored_at` follows the payload, so
-- reading it there would read the payload's pages.
create index events_stored on events (stored_at, generation, type);
-- Dead letters and discarded deliveries.
create index deliveries_dead_or_discarded on deliveries (state, id, handler, event) where state >= 4;

-- Unhandled events: no generation of them has a delivery.
create table unhandled (event integer primary key) strict;
insert into unhandled select id from events where not exists (select 1 from deliveries where event = events.id);

-- Each handler that has ever had a delivery; `ordered` is the order of its latest delivery: 0 for
-- none, 1 for the oldest first, 2 for the newest only.
create table handlers (name text primary key, ordered integer not null) strict, without rowid;
insert into handlers
    select handler, case when object is null then 0 when sort_key < 0 then 2 else 1 end
    from deliveries where id in (select max(id) from deliveries group by handler);

create trigger events_stored after insert on events begin
    insert into unhandled values (new.id);
end;
create trigger events_purged after delete on events begin
    delete from unhandled where event = old.id;
end;
create trigger deliveries_stored after insert on deliveries begin
    delete from unhandled where event = new.event;
    insert into handlers values (new.handler, case when new.object is null then 0 when new.sort_key < 0 then 2 else 1 end)
        on conflict do update set ordered = excluded.ordered where ordered <> excluded.ordered;
end;
