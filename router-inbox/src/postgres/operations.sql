-- What people who look for something ask for. All of it is kept by the tables themselves, so that an older version,
-- which knows nothing of it, keeps it too; and by functions of whoever has made the tables, so that those who may only
-- use what was there before go on.

-- What is stored meanwhile waits, so that nothing is left out. In the order in which those who store come by.
lock table inbox.events, inbox.deliveries in share row exclusive mode;

-- Indexes cannot have long texts, so of those they have the beginning.
-- Without the account, which stands before the object's id where there is one.
create index events_of_object on inbox.events
    (left(case when account is null then object else substr(object, length(account) + 2) end, 100));
create index events_of_type on inbox.events (left(type, 100));
create index events_stored on inbox.events (stored_at, id) where generation = 0;
-- Dead letters, and what was discarded.
create index deliveries_buried on inbox.deliveries (state, id) include (handler, event) where state >= 4;

-- Each event with each of its generations, itself among them.
create view inbox.generations as
    select one.id as event, other.id as other
    from inbox.events one join inbox.events other
        on other.event_id = one.event_id and other.endpoint = one.endpoint
            and other.account is not distinct from one.account;

-- The events of which no generation was for any handler.
create table inbox.unhandled (event bigint primary key references inbox.events (id) on delete cascade);
insert into inbox.unhandled
    select id from inbox.events event where not exists (select from inbox.deliveries where event = event.id);

-- Each handler that has had a delivery, and whether its last one was ordered.
create table inbox.handlers (name text collate "C" primary key, ordered boolean not null);
insert into inbox.handlers
    select distinct on (handler) handler, lane is not null from inbox.deliveries order by handler, id desc;

-- Sessions plan each statement anew, which would take longer than these do; and a plan that is kept must not be one for
-- a small table.

-- Once the deliveries are there too, which is when it commits.
create function inbox.keep_unhandled() returns trigger language plpgsql security definer
    set search_path = '' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    if not exists (select from inbox.deliveries where event = new.id) then
        insert into inbox.unhandled values (new.id);
    end if;
    return null;
end $$;
create constraint trigger keep_unhandled after insert on inbox.events
    deferrable initially deferred for each row execute function inbox.keep_unhandled();

-- Mostly they are known, and then nobody is to wait for anybody else who has one of them.
create function inbox.keep_handlers() returns trigger language plpgsql security definer
    set search_path = '' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    insert into inbox.handlers
        select * from (
            select distinct on (handler) handler, lane is not null as ordered from stored order by handler, id desc
        ) last
        where not exists (
            select from inbox.handlers known where known.name = last.handler and known.ordered = last.ordered)
    on conflict (name) do update set ordered = excluded.ordered;
    return null;
end $$;
create trigger keep_handlers after insert on inbox.deliveries
    referencing new table as stored for each statement execute function inbox.keep_handlers();
