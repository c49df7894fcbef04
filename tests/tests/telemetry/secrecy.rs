//! Metrics, spans and log lines hold no secrets and no personal data.

use router_tests::{SECRET, signature};

use crate::{
    every_path::{PERSONAL_DATA, personal_event, run_every_path},
    metrics_recorder::MetricsRecorder,
    trace::Trace,
};

#[tokio::test]
async fn telemetry_reveals_no_secrets_or_personal_data() {
    let (recorder, trace) = (MetricsRecorder::install(), Trace::install());
    run_every_path().await;
    let telemetry = trace.text() + "\n" + &recorder.changes().join("\n");
    // Nothing is hidden by an incomplete recording.
    for expected in ["evt_paid", "DEBUG", "dead letter", "event lost: ", "`data.object` does not"] {
        assert!(telemetry.contains(expected), "no {expected} in:\n{telemetry}");
    }
    let signed = signature(personal_event("evt_paid", "invoice.paid").as_bytes());
    let (_, mac) = signed.split_once("v1=").expect("the signature has a v1 scheme");
    for hidden in PERSONAL_DATA.into_iter().chain([SECRET, "of_the_tests", "secret_", mac]) {
        let line = telemetry.lines().find(|line| line.contains(hidden));
        assert_eq!(line, None, "the telemetry reveals {hidden}");
    }
}
