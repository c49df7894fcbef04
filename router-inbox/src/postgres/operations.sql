-- Tables and indexes for the operations: status, list, replay, purge.
--
-- Triggers maintain the tables, so that events stored by an older version are included. The trigger
-- functions run with the privileges of the tables' owner, so that a user who was granted only the
-- older tables can still write.

-- Blocks writers during the migration, so that no event is missed. The tables are locked in the
-- order in which writers use them.
lock table inbox.events, inbox.deliveries in share row exclusive mode;

-- Index entries have a maximum size, so the indexes hold the first 100 characters of long texts.
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

-- Unhandled events: no generation of them has a delivery.
create table inbox.unhandled (event bigint primary key references inbox.events (id) on delete cascade);
insert into inbox.unhandled
    select id from inbox.events event where not exists (select from inbox.deliveries where event = event.id);

-- Each handler that has ever had a delivery; `ordered` is the order of its latest delivery: 0 for
-- none, 1 for the oldest first, 2 for the newest only.
create table inbox.handlers (name text collate "C" primary key, ordered smallint not null);
insert into inbox.handlers
    select distinct on (handler) handler, case when lane is null then 0 when sort_key < 0 then 2 else 1 end
    from inbox.deliveries order by handler, id desc;

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
