//! Events and their signatures, without handlers.

mod authenticated;
mod envelope;
mod interop;
mod never_panics;
mod object_id;
mod signature;
mod synthetic;
mod vectors;
mod wrapped;
