//! The compile error in the guide is the one that the compiler prints.

#[test]
fn guide_shows_the_expected_compile_error() {
    let page = include_str!("../../../docs/guide/checks.md");
    let expected = include_str!("../../compile/fail/event_type_with_a_near_name.stderr");
    // The guide leaves out the place in the source.
    let (message, _) = expected.split_once(" --> ").expect("an error has a place");
    assert!(
        page.contains(message),
        "docs/guide/checks.md shows another error than this:\n{message}"
    );
}
