-- The time at which the handler first asked to run later. Null if it has not, or if the delivery has
-- started over since.
--
-- From this version on, `sort_key` is the greatest integer for a delivery that takes the last place of
-- its lane.
alter table inbox.deliveries add column delayed_since bigint;

-- The handlers that an operator has paused.
create table inbox.paused (handler text collate "C" primary key, paused_at bigint not null, note text);
