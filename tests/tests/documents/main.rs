//! Tests whose tables are documents: `UPDATE_DOCS=1 cargo test -p router-tests --test documents`
//! writes docs/bad-input.md, docs/errors.md, and the tables in examples/README.md, docs/redelivery.md
//! and docs/security.md.

mod bad_input;
mod compile_error;
mod errors;
mod example_lines;
mod limits;
mod redelivery_table;
