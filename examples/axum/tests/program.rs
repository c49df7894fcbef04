//! Sends events of both endpoints to the program, and forged ones.

use router_core::{
    SigningSecret,
    testing::{Payload, SyntheticEvent},
};
use router_test_programs::Program;

const SECRETS: &str = "platform=whsec_of_the_platform,connect=whsec_of_connect";

fn secret(secret: &str) -> SigningSecret {
    SigningSecret::new(secret).expect("the secret is valid")
}

fn event(event_type: &str) -> Payload {
    SyntheticEvent::new(event_type).account("acct_1").build().expect("type is in the catalog")
}

#[tokio::test]
async fn program_handles_events_of_both_endpoints_and_refuses_forged_ones() {
    let program = Program::start(env!("CARGO_BIN_EXE_example-axum"), SECRETS);
    let (platform, connect) = (secret("whsec_of_the_platform"), secret("whsec_of_connect"));
    let path = "/stripe/webhook";

    let payment = event("payment_intent.succeeded");
    let (status, answer) = program.send(path, &payment, &platform).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(r#"{"name":"payments.succeeded","outcome":"done"}"#), "{answer}");

    // The endpoint's name is that of the secret, whatever account the event names.
    let (status, answer) = program.send(path, &event("account.updated"), &platform).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(r#""outcome":"unhandled""#), "{answer}");

    let (status, answer) =
        program.send(path, &event("account.updated"), &secret("whsec_of_a_forger")).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer.starts_with(r#"{"error":"#), "{answer}");
    assert_eq!(program.get("/accounts").await.1, "");

    let (status, answer) = program.send(path, &event("account.updated"), &connect).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(r#"{"name":"accounts.updated","outcome":"done"}"#), "{answer}");
    assert_eq!(program.get("/accounts").await.1, "acct_1\n");

    program.terminate();
}
