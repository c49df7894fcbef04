//! An invalid handler gets one error, located at the user's own token.

#[test]
fn invalid_handlers_do_not_compile() {
    // Without programs that must compile, trybuild checks all of these with one call of cargo.
    trybuild::TestCases::new().compile_fail("fail/*.rs");
}
