-- The time at which the handler first asked to run later. Null if it has not, or if the delivery has
-- started over since.
--
-- From this version on, `sort_key` is the greatest integer for a delivery that takes the last place of
-- its lane.
alter table stripe_inbox_deliveries add column delayed_since integer;

-- The handlers that an operator has paused.
create table stripe_inbox_paused (
    handler text primary key,
    paused_at integer not null,
    note text
) strict, without rowid;
