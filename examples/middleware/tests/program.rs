//! Sends signed and forged events to the program.

#[tokio::test]
async fn program_handles_signed_events_and_refuses_forged_ones() {
    router_test_programs::check_webhook(env!("CARGO_BIN_EXE_example-middleware")).await;
}
