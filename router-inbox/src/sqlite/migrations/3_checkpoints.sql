-- The checkpoints that programs store, to continue from there after a restart.
create table stripe_inbox_checkpoints (
    name text primary key,
    value text not null
) strict, without rowid;
