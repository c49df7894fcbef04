//! How a server shows who it is.

use std::{path::Path, process::Command};

use router_inbox::{JetStreamStore, Store as _, Stored};

use crate::{
    support::{nats::Server, paid},
    told,
};

#[tokio::test]
async fn a_server_must_show_a_certificate_that_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = certificate(folder.path());
    let tls = format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}");
    let Some(server) = Server::start_with(&tls, "") else { return };
    let trusting = format!("{}?ca={certificate}", server.url());
    // Whether or not the URL demands it, the server does.
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
        let told = told(&JetStreamStore::connect(&url).await.unwrap_err());
        assert!(told.contains("cannot establish a trusted TLS connection"), "{told}");
        assert!(told.contains(cause), "{told}");
    }
}

/// Of 127.0.0.1, by its own authority.
fn certificate(folder: &Path) -> (String, String) {
    let [key, certificate] =
        ["server.key", "server.crt"].map(|name| folder.join(name).display().to_string());
    let made = Command::new("openssl")
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
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (key, certificate)
}
