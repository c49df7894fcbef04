//! The API key is in no text. The test is a program of its own: if another test reached a log line
//! first, the line would be disabled for the whole program.

mod support;

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use router_stripe::{
    Error, ErrorKind,
    testing::{Fault, STUB_KEY},
};
use support::{INVOICE, advance, client_with_clock, stub};

/// All log lines of the test's thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("log is not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn key_is_in_no_log_debug_output_or_error() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let stripe = stub().await;
    let (client, clock) = client_with_clock(&stripe);
    let request = client.get(INVOICE);
    let mut texts = vec![format!("{client:?} {request:?} {:?}", stripe.client_builder())];
    stripe.fault(Fault::status(500));
    let response = advance(&clock, request.send()).await.expect("second attempt succeeds");
    texts.push(format!("{response:?}"));
    let fault = Fault::error(403, &format!("the key {STUB_KEY} lacks `rak_invoice_read`"));
    stripe.fault(fault);
    let error: Error = client.get(INVOICE).send().await.expect_err("permission is missing");
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(error.to_string().contains("lacks `rak_invoice_read`; add the permission"), "{error}");
    texts.push(format!("{error} {error:?}"));
    drop(stripe);
    let error = advance(&clock, client.get(INVOICE).send()).await.expect_err("nothing listens");
    texts.push(format!("{error} {error:?}"));
    let log = log.0.lock().expect("log is not poisoned");
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("request to Stripe failed; retrying"), "{log}");
    texts.push(log.into_owned());
    for text in texts {
        assert!(!text.contains(STUB_KEY), "{text}");
    }
}
