//! Tests of the table of event types, and of the samples.

#[cfg(feature = "samples")]
mod samples;
mod table;
