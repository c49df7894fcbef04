-- The delay with which a delivery was scheduled, in milliseconds: 0 for a delivery due at once, the
-- delay of a retry, or the duration of a lease. A delivery that is due later than now plus its delay
-- was scheduled before the server's clock was set back. Null if an older version scheduled the
-- delivery.
alter table inbox.deliveries add column delay bigint;
