//! The source has no handler that the program lacks, for example because of a missing `mod`.

#[test]
fn every_handler_is_registered() {
    router_core::assert_all_registered!(my_shop::PLUGIN);
}
