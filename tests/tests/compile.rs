//! Compile tests of the handler macros: a valid handler compiles in any context, and an invalid one
//! gets one error, located at the user's own token.

/// One test covers both folders, so that their dependencies are built once.
#[test]
fn valid_handlers_compile_and_invalid_ones_do_not() {
    let tests = trybuild::TestCases::new();
    tests.pass("compile/pass/*.rs");
    tests.compile_fail("compile/fail/*.rs");
}
