-- The present state of each dispute.
create table disputes (
    dispute text primary key,
    charge text,
    amount bigint not null,
    currency text not null,
    reason text not null,
    status text not null,
    recency bigint not null,
    stage bigint not null
);

-- One row per alert. An inquiry that becomes a dispute has a new due date, and thus a new alert.
create table dispute_alerts (
    dispute text not null,
    -- In seconds since 1970. 0 if the event has no due date.
    due_by bigint not null,
    primary key (dispute, due_by)
);
