-- The present state of each subscription. An ended one stays as a tombstone.
create table subscriptions (
    subscription text primary key,
    customer text,
    status text not null,
    cancel_at_period_end boolean not null,
    deleted boolean not null,
    recency bigint not null,
    -- Decides between states of equal recency, if the program has no client of Stripe's API.
    stage bigint not null,
    event text not null
);
