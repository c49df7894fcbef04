//! Nothing in a metric, a span or a log line that is a secret or tells of a person.

use router_tests::{SECRET, signature};

use crate::{
    every_path::{PERSONAL, personal, walk},
    metered::Metered,
    traced::Trace,
};

#[tokio::test]
async fn nothing_secret_and_nothing_personal_is_told_on_any_path() {
    let (metered, trace) = (Metered::begin(), Trace::begin());
    walk().await;
    let told = trace.text() + "\n" + &metered.changes().join("\n");
    // It was all listened to.
    for expected in ["evt_paid", "DEBUG", "dead letter", "lost: ", "error=`data.object` does not"] {
        assert!(told.contains(expected), "no {expected} in:\n{told}");
    }
    let signed = signature(personal("evt_paid", "invoice.paid").as_bytes());
    let (_, mac) = signed.split_once("v1=").expect("it is a signature");
    for hidden in PERSONAL.into_iter().chain([SECRET, "of_the_tests", "secret_", mac]) {
        let line = told.lines().find(|line| line.contains(hidden));
        assert_eq!(line, None, "it shows {hidden}");
    }
}
