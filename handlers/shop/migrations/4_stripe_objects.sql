-- The present state of every object with an id. A deleted object stays as a tombstone.
create table stripe_objects (
    -- The connected account, or an empty text for the own account.
    account text not null,
    -- A shop chooses the ids of some objects, so a coupon, a plan and a product can have one id.
    id text not null,
    object text not null,
    recency bigint not null,
    deleted boolean not null,
    data json not null,
    primary key (account, object, id)
);
