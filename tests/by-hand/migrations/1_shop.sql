-- The events that have been processed. Stripe sends an event again if its answer was lost.
create table processed_events (
    event text primary key
);

create table orders (
    session text primary key,
    reference text,
    customer text,
    payment_intent text,
    -- In the smallest unit of the currency.
    amount bigint,
    currency text,
    state text not null check (state in ('pending', 'expired', 'failed', 'paid')),
    -- Creation of the event that led to the state, in seconds since 1970.
    changed_at bigint not null
);

create table refunds (
    refund text primary key,
    payment_intent text,
    amount bigint not null,
    state text not null,
    changed_at bigint not null
);

-- The highest total of refunds that an event has named for a charge.
create table refunded_charges (
    charge text primary key,
    payment_intent text,
    amount bigint not null
);

-- Orders with the refunded amount.
create view order_balances as
select orders.*, max(
    (select coalesce(sum(amount), 0) from refunds
     where refunds.payment_intent = orders.payment_intent
        and refunds.state not in ('failed', 'canceled')),
    (select coalesce(sum(amount), 0) from refunded_charges
     where refunded_charges.payment_intent = orders.payment_intent)
    - (select coalesce(sum(amount), 0) from refunds
       where refunds.payment_intent = orders.payment_intent
          and refunds.state in ('failed', 'canceled'))
) as refunded
from orders;

-- The present state of each subscription. An ended one stays as a tombstone.
create table subscriptions (
    subscription text primary key,
    customer text not null,
    status text not null,
    cancel_at_period_end boolean not null,
    deleted boolean not null,
    changed_at bigint not null
);

create table disputes (
    dispute text primary key,
    charge text not null,
    amount bigint not null,
    currency text not null,
    reason text not null,
    status text not null,
    changed_at bigint not null
);

create table dispute_alerts (
    dispute text not null,
    -- In seconds since 1970. 0 if the event has no due date.
    due_by bigint not null,
    primary key (dispute, due_by)
);

-- The present state of every object with an id. A deleted object stays as a tombstone.
create table stripe_objects (
    -- The connected account, or an empty text for the own account.
    account text not null,
    id text not null,
    object text not null,
    deleted boolean not null,
    data json not null,
    changed_at bigint not null,
    primary key (account, id)
);

-- One row per mail that the mail server has accepted.
create table sent_mails (
    key text primary key
);
