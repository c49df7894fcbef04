//! Connecting: creating the stream, existing streams, unsuitable servers, errors.

use std::time::{Duration, UNIX_EPOCH};

use async_nats::jetstream::stream::DiscardPolicy;
use insta::assert_snapshot;
use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    JetStreamStore, Store as _,
    operations::EventSelector,
    store::{Operations as _, Stored},
};
use router_test_servers::{
    nats::{self, PASSWORD, Server, USER},
    unused_name, unused_port,
};

use super::operator;
use crate::support::{error_chain, paid, wanted};

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_connects_create_one_stream() {
    let Some(server) = nats::shared() else { return };
    let url = server.url_of(&unused_name());
    let open = || {
        let url = url.clone();
        tokio::spawn(async move {
            let store = JetStreamStore::connect(&url).await;
            let store = store.map_err(|error| format!("{error:?}"))?;
            store.store(&[paid("evt_1")]).await.map_err(|error| format!("{error:?}"))
        })
    };
    let mut results = Vec::new();
    for task in [open(), open(), open(), open()] {
        results.extend(task.await.unwrap().unwrap());
    }
    assert_eq!(results.iter().filter(|stored| **stored == Stored::New).count(), 1, "{results:?}");
}

/// Not of the machine that runs the store.
#[tokio::test]
async fn time_is_the_servers() {
    let Some(server) = nats::shared() else { return };
    let store = JetStreamStore::connect(&server.url_of(&unused_name())).await.unwrap();
    store.store(&[paid("evt_1")]).await.unwrap();
    let stored_at = store.show("evt_1").await.unwrap()[0].event.stored_at;
    let theirs = stored_at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let ours = SystemClock.wall().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((ours - theirs).abs() < 60.0, "{theirs} and {ours} on one machine");
    assert!(store.claim(&wanted(9)).await.unwrap().len() == 1, "it is due at once");
    let since =
        EventSelector { max_age: Some(Duration::from_secs(60)), ..EventSelector::default() };
    assert_eq!(store.select(&since).await.unwrap().len(), 1);
}

#[tokio::test]
async fn inboxes_on_one_server_are_independent() {
    let Some(server) = nats::shared() else { return };
    let open = || JetStreamStore::connect(Box::leak(server.url_of(&unused_name()).into()));
    let (first, second) = (open().await.unwrap(), open().await.unwrap());
    first.store(&[paid("evt_1")]).await.unwrap();
    assert_eq!(second.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    assert_eq!(first.claim(&wanted(9)).await.unwrap().len(), 1);
    assert_eq!(second.claim(&wanted(9)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn connect_without_create_makes_no_stream() {
    let Some(server) = nats::shared() else { return };
    let name = unused_name();
    let error = JetStreamStore::options()
        .create_if_missing(false)
        .connect(&server.url_of(&name))
        .await
        .unwrap_err();
    let error = error_chain(&error).replace(&server.address(), "ADDRESS").replace(&name, "NAME");
    assert_snapshot!(error, @"the NATS server ADDRESS cannot be used as an inbox: it has no stream NAME; the webhook server creates the stream, so use the same servers and the same inbox name, in a URL the part after the /");
    JetStreamStore::connect(&server.url_of(&name)).await.unwrap();
    JetStreamStore::options()
        .create_if_missing(false)
        .connect(&server.url_of(&name))
        .await
        .unwrap();
}

/// The stream is not repaired, because the operator may have changed it on purpose.
#[tokio::test]
async fn unsuitable_stream_is_refused_unchanged() {
    let Some(server) = nats::shared() else { return };
    let name = unused_name();
    JetStreamStore::connect(&server.url_of(&name)).await.unwrap();
    let context = operator(server).await;
    let mut config = context.get_stream(&name).await.unwrap().cached_info().config.clone();
    // The operator may change these.
    config.max_bytes = 1 << 30;
    config.description = Some("ours".into());
    context.update_stream(&config).await.unwrap();
    JetStreamStore::connect(&server.url_of(&name)).await.unwrap();
    config.max_age = Duration::from_secs(3_600);
    config.discard = DiscardPolicy::Old;
    config.allow_atomic_publish = false;
    context.update_stream(&config).await.unwrap();
    let error = JetStreamStore::connect(&server.url_of(&name)).await.unwrap_err();
    let error = error_chain(&error).replace(&server.address(), "ADDRESS").replace(&name, "NAME");
    assert_snapshot!(error, @r"
    the NATS server ADDRESS cannot be used as an inbox: the configuration of its stream NAME does not fit an inbox:
      discard: Old, must be New
      max_age: 3600s, must be 0ns
      allow_atomic: false, must be true
    change it with `nats stream edit NAME`, or give the inbox another name
    ");
    let found = context.get_stream(&name).await.unwrap().cached_info().config.clone();
    assert_eq!(found.max_age, config.max_age);
}

#[tokio::test]
async fn missing_replicas_are_an_error() {
    let Some(server) = nats::shared() else { return };
    let name = unused_name();
    let url = server.url_of(&name);
    let connect_error = async |replicas| {
        let options = JetStreamStore::options().replicas(replicas);
        let error = error_chain(&options.connect(&url).await.unwrap_err());
        error.replace(&server.address(), "ADDRESS").replace(&name, "NAME")
    };
    assert_snapshot!(connect_error(3).await, @"the NATS server ADDRESS cannot be used as an inbox: its stream cannot be created with 3 replicas; start more servers of the cluster, or set `JetStreamOptions::replicas` to 1, which loses events if the server's disk is lost: jetstream error: replicas > 1 not supported in non-clustered mode (code 500, error code 10074)");
    JetStreamStore::options().replicas(1).connect(&url).await.unwrap();
    assert_snapshot!(connect_error(3).await, @r"
    the NATS server ADDRESS cannot be used as an inbox: the configuration of its stream NAME does not fit an inbox:
      num_replicas: 1, must be 3
    change it with `nats stream edit NAME`, or give the inbox another name, or do not set `JetStreamOptions::replicas`
    ");
    for replicas in [0, 6] {
        assert_eq!(
            connect_error(replicas).await,
            "invalid setting of the inbox: `replicas` must be a number from 1 to 5"
        );
    }
}

#[tokio::test]
async fn too_old_server_is_refused() {
    let Some(server) = Server::older() else { return };
    let error = error_chain(&JetStreamStore::connect(&server.url()).await.unwrap_err());
    let (begin, end) = error.split_once("it is version 2.11.").unwrap_or(("", &error));
    assert!(begin.ends_with("cannot be used as an inbox: "), "{error}");
    assert!(end.contains("update it to 2.12 or later"), "{error}");
}

#[tokio::test]
async fn server_without_jetstream_is_an_error() {
    let Some(server) = Server::start_with("jetstream: disabled", "") else { return };
    let url = server.url();
    let error = error_chain(&JetStreamStore::connect(&url).await.unwrap_err());
    assert_snapshot!(error.replace(&server.address(), "ADDRESS"), @"the NATS server ADDRESS cannot be used as an inbox: JetStream is not enabled for this user; enable it with `jetstream {}` in the server's configuration, and, if that defines accounts, with `jetstream: enabled` in the user's account: requested JetStream resource does not exist");
}

#[tokio::test]
async fn connect_error_has_advice() {
    let Some(server) = nats::shared() else { return };
    let unreachable = format!("nats://{USER}:{PASSWORD}@127.0.0.1:{}", unused_port());
    let wrong = format!("nats://{USER}:wrong@{}", server.address());
    let unknown = format!("nats://{USER}:{PASSWORD}@no-such-host.invalid");
    let without_tls = server.url().replace("nats://", "tls://");
    let credentials = format!("nats://{}?credentials=/no/such/file", server.address());
    let mut messages = String::new();
    let nameless = format!("nats://{}", server.address());
    for url in [&unreachable, &wrong, &nameless, &unknown, &without_tls, &credentials] {
        let error = error_chain(&JetStreamStore::connect(url).await.unwrap_err());
        let port = unreachable.rsplit(':').next().unwrap();
        let error = error.replace(&server.address(), "ADDRESS").replace(port, "PORT");
        messages += &format!("{error}\n");
    }
    assert_snapshot!(messages, @r"
    the NATS server 127.0.0.1:PORT cannot be used as an inbox: the server cannot be reached; start it, or correct the host and port in the URL: IO error: Connection refused (os error 111)
    the NATS server ADDRESS cannot be used as an inbox: authentication failed for user inbox; correct the user and password in the URL
    the NATS server ADDRESS cannot be used as an inbox: the server requires authentication; add user:password@ before the host in the URL, or ?credentials=/path/to/user.creds at its end
    the NATS server no-such-host.invalid cannot be used as an inbox: there is no such host; correct it in the URL: DNS error: failed to lookup address information: Name or service not known
    the NATS server ADDRESS cannot be used as an inbox: cannot establish a trusted TLS connection; tls:// in the URL requires TLS, and with nats:// the server decides; its certificate must be trusted by this machine, or issued by the CA in ?ca=/path/to/ca.pem: IO error: received corrupt message of type InvalidContentType
    the NATS server ADDRESS cannot be used as an inbox: cannot read the credentials file; correct its path in the URL: loading creds file '/no/such/file': No such file or directory (os error 2)
    ");
}

#[tokio::test]
async fn invalid_url_error_hides_password() {
    let urls = [
        "nats:localhost",
        "http://localhost:8222",
        "nats://",
        "nats://inbox:of-the-tests-3e9a/2@localhost",
        "nats://inbox:of-the-tests-3e9a:2@localhost",
        "nats://inbox@localhost",
        "nats://inbox:of-the-tests-3e9a@one,nats://inbox:of-the-tests-3e9a@two",
        "nats://inbox:of-the-tests-3e9a@one,inbox:of-the-tests-3e9a@two",
        "nats://localhost:port",
        "nats://localhost/an.inbox",
        "nats://inbox:of?the-tests-3e9a@localhost",
        "nats://inbox:50%ff-3e9a@localhost",
    ];
    let mut messages = String::new();
    for url in urls {
        let error = error_chain(&JetStreamStore::connect(url).await.unwrap_err());
        let (reason, _) =
            error.split_once(" (expected nats://").expect("it says how it is written, after that");
        messages += &format!("{reason}\n");
    }
    assert_snapshot!(messages, @r"
    invalid URL of the inbox: it has no ://
    invalid URL of the inbox: it must begin with nats://, or with tls:// to require TLS
    invalid URL of the inbox: a host or a port is missing or invalid
    invalid URL of the inbox: the user or the password contains a /; write it as %2F
    invalid URL of the inbox: the password contains a : or an @; write them as %3A and %40, and write user:password@ only once, before the first server
    invalid URL of the inbox: a password is missing; write user:password
    invalid URL of the inbox: it contains nats:// more than once; write it only before the first server
    invalid URL of the inbox: the password contains a : or an @; write them as %3A and %40, and write user:password@ only once, before the first server
    invalid URL of the inbox: a host or a port is missing or invalid
    invalid URL of the inbox: the inbox's name must have 1 to 64 characters: letters, digits, _ and -
    invalid URL of the inbox: the user or the password contains a ?; write it as %3F
    invalid URL of the inbox: a % sequence is not valid UTF-8; write a literal % as %25
    ");
}

#[tokio::test]
async fn unknown_parameter_is_refused_by_name() {
    for (url, expected) in [
        ("nats://localhost?password=of-the-tests-3e9a", "unknown parameter `password`; known are"),
        ("nats://localhost?cs=3", "unknown parameter `cs`; did you mean `ca`?"),
        ("nats://localhost?ca=3&ca=1", "parameter `ca` more than once"),
    ] {
        let error = error_chain(&JetStreamStore::connect(url).await.unwrap_err());
        assert!(error.contains(expected) && !error.contains("3e9a"), "{error}");
    }
}
