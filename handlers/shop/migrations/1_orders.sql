-- One row per Checkout session that was completed or has expired. `stage` orders the states; it never falls.
create table orders (
    session text primary key,
    reference text,
    customer text,
    payment_intent text,
    -- In the smallest unit of the currency.
    amount bigint,
    currency text,
    state text not null check (state in ('pending', 'expired', 'failed', 'paid')),
    stage bigint not null,
    -- Creation of the event that led to the state, in seconds since 1970.
    changed_at bigint not null
);

create index orders_payment_intent on orders (payment_intent);

-- One row per refund. `stage` orders the states; a row's stage never falls.
create table refunds (
    refund text primary key,
    payment_intent text,
    amount bigint not null,
    state text not null,
    stage bigint not null
);

create index refunds_payment_intent on refunds (payment_intent);

-- The highest total of refunds that an event has named for a charge.
create table refunded_charges (
    charge text primary key,
    payment_intent text,
    amount bigint not null
);

create index refunded_charges_payment_intent on refunded_charges (payment_intent);

-- Orders with the refunded amount. It does not depend on the order of events: it is the sum of the
-- refunds that did not fail, or the total of the charges without those that failed, if that is more
-- because events of single refunds are still missing.
create view order_balances as
select session, reference, customer, payment_intent, amount, currency, state, changed_at,
    case when refunded > total - failed then refunded else total - failed end as refunded
from (
    select orders.*,
        (select cast(coalesce(sum(r.amount), 0) as bigint) from refunds r
         where r.payment_intent = orders.payment_intent
            and r.state not in ('failed', 'canceled')) as refunded,
        (select cast(coalesce(sum(r.amount), 0) as bigint) from refunds r
         where r.payment_intent = orders.payment_intent
            and r.state in ('failed', 'canceled')) as failed,
        (select cast(coalesce(sum(c.amount), 0) as bigint) from refunded_charges c
         where c.payment_intent = orders.payment_intent) as total
    from orders
) as sums;
