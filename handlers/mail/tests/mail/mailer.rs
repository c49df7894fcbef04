//! Sends mail to a real SMTP server, and to a folder.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
    time::Duration,
};

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

/// Serves one connection, and accepts every command but this one, which gets the reply. Closes the
/// connection if the reply is `None`. Does not answer if it is empty.
fn serve(command: &'static str, reply: Option<&'static str>) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(b"220 ready\r\n").unwrap();
        let mut is_data = false;
        for line in lines.map_while(Result::ok) {
            if is_data && line != "." {
                continue;
            }
            let reply = match line.split(' ').next() {
                Some(first) if first == command => reply,
                Some("DATA") => Some("354 go on"),
                _ => Some("250-more\r\n250 ok"),
            };
            let Some(reply) = reply else { return };
            is_data = reply.starts_with("354");
            if !reply.is_empty() {
                stream.write_all(format!("{reply}\r\n").as_bytes()).unwrap();
            }
        }
    });
    (url, server)
}

/// The server is responsible for the mail, so a retry would send it twice.
#[tokio::test]
async fn accepted_mail_is_sent_although_server_does_not_answer_quit() {
    let (url, server) = serve("QUIT", Some(""));
    let mailer = Mailer::smtp(&url, FROM).unwrap().timeout(Duration::from_secs(5));
    mailer.send(ID, &mail()).await.unwrap();
    server.join().unwrap();
}

#[tokio::test]
async fn interrupted_conversation_is_retried() {
    for reply in [Some("421-4.3.2 shutting\r\n421 4.3.2 down"), None] {
        for command in ["EHLO", "MAIL", "RCPT", "DATA", "."] {
            let (url, server) = serve(command, reply);
            let failure = send(&url, mail()).await.unwrap_err();
            assert!(!failure.is_permanent(), "{command}: {failure}");
            server.join().unwrap();
        }
    }
}

/// Names and addresses of customers are unchecked input.
#[tokio::test]
async fn hostile_name_or_address_adds_no_header() {
    let folder = tempfile::tempdir().unwrap();
    let mailer = Mailer::folder(folder.path(), FROM).unwrap();
    let long = "x".repeat(100_000);
    let (words, wide) = ("a \\\"<@>,;:() ".repeat(5_000), "東\u{301}🎉".repeat(5_000));
    let names = ["\0\u{7f}", "\u{2028}\u{85}", "\\", "\"", "=?utf-8?q?=0d=0aBcc:x?=", "🎉", " "];
    for (index, name) in names.into_iter().chain([&*long, &words, &wide]).enumerate() {
        let mail = Mail { name: Some(name), subject: name, ..mail() };
        mailer.send(&format!("{index}"), &mail).await.unwrap();
        let eml = fs::read(folder.path().join(format!("{index}.eml"))).unwrap();
        assert!(eml.is_ascii() && !eml.contains(&0), "{index}");
        let eml = String::from_utf8(eml).unwrap();
        let (headers, _) = eml.split_once("\r\n\r\n").unwrap();
        let fields = headers.lines().filter(|line| !line.starts_with([' ', '\t']));
        let fields: Vec<_> = fields.map(|line| line.split_once(':').unwrap().0).collect();
        let expected =
            ["Message-ID", "Date", "From", "To", "Subject", "Auto-Submitted", "MIME-Version"];
        assert_eq!(fields, [&expected[..], &["Content-Type"]].concat(), "{index}");
    }
    for to in [
        "\"a\r\nBcc: x\"@example.com",
        "a@example.com, b@example.com",
        "a@b\0",
        "\"\0\"@b.c",
        &long,
    ] {
        assert!(
            mailer.send(ID, &Mail { to, ..mail() }).await.unwrap_err().is_permanent(),
            "{to:?}"
        );
    }
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
