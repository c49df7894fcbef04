//! What the compiler says of a handler: nothing where it is right, whatever stands around it, and
//! one error on the user's own token where it is wrong.

/// One test for both folders, so that what they depend on is built once.
#[test]
fn right_handlers_compile_and_wrong_ones_are_told_what_to_write() {
    let tests = trybuild::TestCases::new();
    tests.pass("compile/pass/*.rs");
    tests.compile_fail("compile/fail/*.rs");
}
