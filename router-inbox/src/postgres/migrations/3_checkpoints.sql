-- The checkpoints that programs store, to continue from there after a restart.
create table inbox.checkpoints (name text collate "C" primary key, value text not null);
