//! TLS: the server's certificate.

use std::{path::Path, process::Command};

use router_inbox::{JetStreamStore, Store as _, store::Stored};
use router_test_servers::nats::Server;

use crate::support::error_chain;
use crate::support::paid;

#[tokio::test]
async fn untrusted_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = certificate(folder.path());
    let tls = format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}");
    let Some(server) = Server::start_with(&tls, "") else { return };
    let trusting = format!("{}?ca={certificate}", server.url());
    // The server requires TLS, even if the URL does not.
    for url in [trusting.clone(), trusting.replace("nats://", "tls://")] {
        let store = JetStreamStore::connect(&url).await.unwrap();
        let id = format!("evt_{}", url.len());
        assert_eq!(store.store(&[paid(&id)]).await.unwrap(), [Stored::New]);
    }
    for (url, cause) in [
        (server.url(), "invalid peer certificate: UnknownIssuer"),
        (trusting.replace("127.0.0.1", "localhost"), "certificate not valid for name"),
        (trusting.replace(".crt", ".none"), "No such file or directory"),
    ] {
        let message = error_chain(&JetStreamStore::connect(&url).await.unwrap_err());
        assert!(message.contains("cannot establish a trusted TLS connection"), "{message}");
        assert!(message.contains(cause), "{message}");
    }
}

/// Creates a self-signed certificate for 127.0.0.1. Returns the paths of the key and the
/// certificate.
fn certificate(folder: &Path) -> (String, String) {
    let [key, certificate] =
        ["server.key", "server.crt"].map(|name| folder.join(name).display().to_string());
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-days", "2", "-subj", "/CN=test", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &key, "-out", &certificate])
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (key, certificate)
}
