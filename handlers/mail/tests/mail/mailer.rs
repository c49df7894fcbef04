//! Sends mail to a real SMTP server, and to a folder.

use std::{fs, time::Duration};

use router_core::Failure;
use router_test_servers::smtp::{self, Server};
use serde_json::json;
use shop_mail::{Mail, Mailer};

const FROM: &str = "The Shop <shop@example.com>";

/// The id of a mail.
const ID: &str = "4f1e";

fn mail() -> Mail<'static> {
    Mail {
        to: "jenny@example.com",
        name: Some("Jenny Rosen"),
        subject: "Your receipt",
        text: "Paid: USD 20.00\n".into(),
        html: "<p>Paid: USD 20.00</p>\n".into(),
    }
}

async fn send(url: &str, mail: Mail<'_>) -> Result<(), Failure> {
    Mailer::smtp(url, FROM).unwrap().send(ID, &mail).await
}

#[tokio::test]
async fn mail_arrives_with_both_parts() {
    let Some(mut server) = Server::start() else { return };
    send(&server.url(), mail()).await.unwrap();

    let mails = server.mails();
    let [mail] = &*mails else { panic!("{mails:?}") };
    assert_eq!(
        (&mail["from"], &mail["to"]),
        (&json!("shop@example.com"), &json!(["jenny@example.com"]))
    );
    assert_eq!(mail["text"], "Paid: USD 20.00\n");
    assert_eq!(mail["html"], "<p>Paid: USD 20.00</p>\n");
    let headers = &mail["headers"];
    assert_eq!(headers["from"], "The Shop <shop@example.com>");
    assert_eq!(headers["to"], "Jenny Rosen <jenny@example.com>");
    assert_eq!(headers["subject"], "Your receipt");
    assert_eq!(headers["message-id"], "<4f1e@example.com>");
    assert_eq!(headers["auto-submitted"], "auto-generated");
}

#[tokio::test]
async fn unicode_arrives_and_line_breaks_add_no_header() {
    let Some(mut server) = Server::start() else { return };
    let unicode = Mail {
        name: Some("Zoë 東京, \"Z\" <z@evil.example>"),
        subject: "Quittung für Zoë\r\nBcc: spam@evil.example",
        text: "Zoë 東京\n".into(),
        ..mail()
    };
    send(&server.url(), unicode).await.unwrap();
    let injected = Mail { name: Some("Eve\r\nBcc: spam@evil.example\r\n\r\nBuy now"), ..mail() };
    send(&server.url(), injected).await.unwrap();

    let mails = server.mails();
    let [unicode, injected] = &*mails else { panic!("{mails:?}") };
    assert_eq!(unicode["text"], "Zoë 東京\n");
    assert_eq!(unicode["headers"]["subject"], "Quittung für Zoë Bcc: spam@evil.example");
    let to = unicode["headers"]["to"].as_str().unwrap();
    assert_eq!(to, r#""Zoë 東京, \"Z\" <z@evil.example>" <jenny@example.com>"#);
    assert_eq!(
        injected["headers"]["to"],
        r#""Eve Bcc: spam@evil.example Buy now" <jenny@example.com>"#
    );
    for mail in &mails {
        assert_eq!(mail["headers"].get("bcc"), None);
        assert_eq!(mail["to"], json!(["jenny@example.com"]));
        assert_eq!(mail["html"], "<p>Paid: USD 20.00</p>\n");
    }
}

#[tokio::test]
async fn reply_decides_between_retry_and_permanent_failure() {
    let Some(mut server) = Server::start() else { return };
    for (when, reply, is_permanent) in [
        ("RCPT", "450 4.2.0 <jenny@example.com>: greylisted", false),
        ("DATA", "451 try later", false),
        ("RCPT", "550 5.1.1 <jenny@example.com>: no such user", true),
        ("DATA", "554 looks like spam", true),
    ] {
        server.refuse(when, reply);
        let failure = send(&server.url(), mail()).await.unwrap_err();
        assert_eq!(failure.is_permanent(), is_permanent, "{failure}");
        let (error, text) = (failure.to_string(), reply.rsplit(": ").next().unwrap());
        let text = text.trim_start_matches(|c: char| c.is_ascii_digit());
        assert!(error.contains(text) && error.contains(&server.address()), "{error}");
        assert!(!format!("{failure:?} {error}").contains("jenny"), "{failure:?} {error}");
    }
    assert!(server.mails().is_empty());
    send(&server.url(), mail()).await.unwrap();
}

#[tokio::test]
async fn rejected_login_is_retried_without_password_in_error() {
    let Some(server) = Server::start() else { return };
    let failure = send(&server.url_with_password("s3cret"), mail()).await.unwrap_err();
    assert!(!failure.is_permanent() && failure.to_string().contains("535"), "{failure}");
    let without_login = format!("smtp://{}", server.address());
    let refused = send(&without_login, mail()).await.unwrap_err();
    assert!(!refused.is_permanent() && refused.to_string().contains("530"), "{refused}");
    let shown = format!("{failure:?} {failure} {refused:?}");
    assert!(!shown.contains("s3cret") && !shown.contains(smtp::PASSWORD), "{shown}");
}

#[tokio::test]
async fn unavailable_server_is_retried() {
    let Some(mut server) = Server::start() else { return };
    // A server without TLS.
    let url = server.url().replace("smtp:", "smtps:");
    let failure = send(&url, mail()).await.unwrap_err();
    assert!(
        !failure.is_permanent() && failure.to_string().contains("corrupt message"),
        "{failure}"
    );

    server.stop();
    let failure = send(&server.url(), mail()).await.unwrap_err();
    assert!(!failure.is_permanent() && failure.to_string().contains("refused"), "{failure}");
    server.restart();
    send(&server.url(), mail()).await.unwrap();
}

#[tokio::test]
async fn unresponsive_server_is_retried() {
    let Some(mut server) = Server::start() else { return };
    server.stall();
    let mailer = Mailer::smtp(&server.url(), FROM).unwrap().timeout(Duration::from_millis(200));
    let failure = mailer.send(ID, &mail()).await.unwrap_err();
    assert!(!failure.is_permanent() && failure.to_string().contains("within 200ms"), "{failure}");
}

#[tokio::test]
async fn malformed_recipient_fails_permanently_and_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mailer = Mailer::folder(folder.path(), FROM).unwrap();
    for to in ["jenny", "jenny@", "a b@example.com", "x@example.com\r\nRCPT TO:<y@example.com>"] {
        let failure = mailer.send(ID, &Mail { to, ..mail() }).await.unwrap_err();
        assert!(failure.is_permanent(), "{to:?}");
        assert_eq!(failure.to_string(), "the recipient's mail address is malformed");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn folder_has_one_readable_file_per_mail() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = folder.path().join("out/box");
    let mailer = Mailer::folder(&outbox, FROM).unwrap();
    mailer.send(ID, &mail()).await.unwrap();
    // Sent again after a crash.
    mailer.send(ID, &mail()).await.unwrap();
    mailer.send("../4f1f", &mail()).await.unwrap();

    let mut names: Vec<_> =
        fs::read_dir(&outbox).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["---4f1f.eml", "4f1e.eml"]);
    let eml = fs::read_to_string(outbox.join("4f1e.eml")).unwrap();
    for line in
        ["To: \"Jenny Rosen\" <jenny@example.com>", "Subject: Your receipt", "Paid: USD 20.00"]
    {
        assert!(eml.lines().any(|present| present == line), "{line}\n{eml}");
    }
}
