# Commands for contributors. `just` lists them; https://just.systems has the tool. Without it, copy the command.

[private]
default:
    @just --list --unsorted

# All checks, or one group: lint, test or extra
check *groups:
    .ci/check {{groups}}

# All tests but the long ones. The PostgreSQL and JetStream stores need their servers installed
test *arguments:
    cargo test --workspace {{arguments}}

# Rewrite the tables that are generated from the code, in docs/, examples/ and router-core/src/docs
docs:
    UPDATE_DOCS=1 cargo test -p router-tests --test documents
    UPDATE_DOCS=1 cargo test -p router-core --lib
    UPDATE_DOCS=1 cargo test -p router-tests --test inbox docs_table

# Rewrite the expected compile errors, then read each as a new user would
compile-errors:
    TRYBUILD=overwrite cargo test -p router-compile-tests --test fail

# Show snapshots of messages that have changed, and accept or reject each (needs cargo-insta)
snapshots:
    cargo insta test --workspace --review

# Record the instructions per event, after a change that is worth its cost
instructions:
    UPDATE=1 .ci/instructions

# Run the fault tests for longer, with a seed to repeat a failure
faults rounds="20" seed="":
    cargo build -p router-cli
    FAULT_ROUNDS={{rounds}} {{ if seed == "" { "" } else { "FAULT_SEED=" + seed } }} cargo test -p router-faults --features long

# Run a shop's day with this number of orders, on SQLite and on PostgreSQL
day orders="10000":
    cargo build --release -p router-cli
    FAULT_ORDERS={{orders}} cargo test --release -p router-faults --test matrix shops_day -- --nocapture

# Repeat a random test of a store with the seed that it printed
conformance seed:
    CONFORMANCE_SEED={{seed}} cargo test -p router-inbox

# Repeat a simulation with the seed that it printed
simulation seed:
    SIMULATION_SEED={{seed}} cargo test -p router-tests --test requests simulation

# Rewrite the table of event types from Stripe's declarations in router-catalog/data
catalog:
    cargo run -p router-catalog --example generate
