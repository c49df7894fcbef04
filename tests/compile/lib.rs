//! Compile tests of the handler macros. The programs in `pass/` are test targets of this package.
//! [trybuild](https://docs.rs/trybuild) compiles those in `fail/` and compares the errors.
