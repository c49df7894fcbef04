//! TLS: the server's certificate.

use router_inbox::{PostgresStore, Store as _, store::Stored};
use router_test_servers::postgres::Server;
use sqlx::{PgPool, Row as _};

use crate::support::error_chain;
use crate::support::paid;

#[tokio::test]
async fn untrusted_certificate_is_refused() {
    let Some(mut server) = Server::start() else { return };
    server.encrypt();
    server.stop();
    server.restart();
    let database = PgPool::connect_lazy(&server.url()).unwrap();
    let certificate = sqlx::query("select pg_read_binary_file('server.crt')");
    let certificate: Vec<u8> = certificate.fetch_one(&database).await.unwrap().get(0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.crt");
    std::fs::write(&path, certificate).unwrap();
    let url = format!("{}?sslmode=verify-full", server.url());
    let trusting = format!("{url}&sslrootcert={}", path.display());
    let store = PostgresStore::connect(&trusting).await.unwrap();
    assert_eq!(store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let encrypted = "select bool_and(ssl) from pg_stat_activity join pg_stat_ssl using (pid)
                     where datname is not null";
    assert!(sqlx::query(encrypted).fetch_one(&database).await.unwrap().get::<bool, _>(0));
    let missing = format!("{url}&sslrootcert={}", folder.path().join("none.crt").display());
    for (url, cause) in [
        (url, "invalid peer certificate: UnknownIssuer"),
        (
            trusting.replace("127.0.0.1", "localhost"),
            "invalid peer certificate: certificate not valid for name",
        ),
        (missing, "No such file or directory"),
    ] {
        let message = error_chain(&PostgresStore::connect(&url).await.unwrap_err());
        let advice = "cannot establish a trusted TLS connection; check `sslmode` and `sslrootcert` in the URL: ";
        assert!(message.contains(&format!("{advice}{cause}")), "{message}");
    }
}
