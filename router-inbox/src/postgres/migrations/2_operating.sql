-- The total of the waits for which the handler has asked to run later, in milliseconds.
--
-- From this version on, `sort_key` is 2^61 plus the due time for a delivery that runs later out of order.
alter table inbox.deliveries add column delayed bigint not null default 0;

-- The handlers that an operator has paused.
create table inbox.paused (handler text collate "C" primary key, paused_at bigint not null, note text);
