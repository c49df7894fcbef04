-- The total of the waits for which the handler has asked to run later, in milliseconds.
--
-- From this version on, `sort_key` is 2^61 plus the due time for a delivery that runs later out of order.
alter table stripe_inbox_deliveries add column delayed integer not null default 0;

-- The trace context of the request that stored the event, as in the header `traceparent`.
alter table stripe_inbox_events add column trace_parent text;

-- The handlers that an operator has paused.
create table stripe_inbox_paused (
    handler text primary key,
    paused_at integer not null,
    note text
) strict, without rowid;

-- The time of the latest claim, and the worker that made it. Null if the attempt was released or has
-- an entry in `history`. An attempt that is running, or that ended the delivery as done or ignored,
-- has no entry.
alter table stripe_inbox_deliveries add column claimed_at integer;
alter table stripe_inbox_deliveries add column claimed_by text;

-- The earlier attempts, at most ten, the oldest first: a JSON array of objects with the fields
-- `number`, `started_at`, `duration` (both in milliseconds), `outcome`, `error` and `worker`.
alter table stripe_inbox_deliveries add column history text;
