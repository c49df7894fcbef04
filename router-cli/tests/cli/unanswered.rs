//! A server that refuses, is another than ours, or is not there: what is told, and how it ends.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
};

use crate::{
    program::{Ran, SECRET, program, run},
    shop::Shop,
};

#[test]
fn a_refused_signature_says_which_secret_was_used() {
    let shop = Shop::open();
    let ran = shop.run(&["send", "invoice.paid", "--secret", "whsec_another", "--seed", "7"]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(shop.steady(&ran.stdout), @r#"
    invoice.paid  evt_17J5Ytqg5QYx1x3EOIv1KGCU  seed 7
      400 Bad Request in · ms
      {"error":"signature verification failed"}
    "#);
    insta::assert_snapshot!(shop.steady(&ran.stderr), @"help: what was sent is signed with the secret from --secret or STRIPE_WEBHOOK_SECRET, and URL expects another one: set STRIPE_WEBHOOK_SECRET to the server's");
    let mut without = program(&["send", "invoice.paid", "--to", &shop.url]);
    let ran = Ran::from(without.env_remove("STRIPE_WEBHOOK_SECRET").output().unwrap());
    assert!(ran.stderr.contains("your development secret"), "{ran:?}");
    // Of several, the first, or the one of this endpoint.
    let list = format!("connect=whsec_another,platform={SECRET}");
    let ran = shop.run(&["send", "invoice.paid", "--secret", &list]);
    assert_eq!(ran.code, Some(1));
    let ran = shop.run(&["send", "invoice.paid", "--secret", &list, "--endpoint", "platform"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = shop.run(&["send", "invoice.paid", "--secret", &list, "--endpoint", "thin"]);
    insta::assert_snapshot!(ran.stderr, @"error: no secret is given for the endpoint `thin`, but for: connect, platform");
}

#[test]
fn where_nothing_listens_it_says_how_to_start_something() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran =
        run(&["send", "invoice.paid", "--seed", "7", "--to", &format!("http://{free}/webhook")]);
    assert_eq!(ran.code, Some(3));
    insta::assert_snapshot!(ran.stdout.replace(&free.to_string(), "ADDRESS"), @r"
    invoice.paid  evt_17J5Ytqg5QYx1x3EOIv1KGCU  seed 7
      nothing listens at ADDRESS; start the server, as with `cargo run`, or say where it is with --to
    ");
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/webhook", silent.local_addr().unwrap());
    let ran = run(&["send", "invoice.paid", "--to", &to, "--timeout", "100ms"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stdout.contains("no answer within 100ms (--timeout)"), "{ran:?}");
}

#[test]
fn an_address_that_is_no_servers_is_told_from_a_server_that_is_down() {
    let shop = Shop::open();
    let ran = run(&["send", "invoice.paid", "--to", &shop.url.replace("http:", "https:")]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stdout.contains("speaks no TLS; perhaps it is http:// there"), "{ran:?}");
    // Nobody can connect to this one.
    let ran = run(&["send", "invoice.paid", "--to", "http://255.255.255.255/webhook"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stdout.contains("255.255.255.255:80 cannot be reached: "), "{ran:?}");
    assert!(ran.stdout.contains("; is it where --to says?"), "{ran:?}");
}

#[test]
fn whoever_stops_it_is_told_what_was_sent() {
    let shop = Shop::open();
    let mut command = program(&["send", "charge.failed", "--repeat", "1000", "--rate", "0.01"]);
    let command = command.args(["--to", &shop.url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    let kill = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\n1 of 1000 deliveries in "), "{rest}");
    assert!(rest.contains("\n       1  500 Internal Server Error retry\n"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn an_answer_without_an_end_is_not_read_for_ever() {
    let endless = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/webhook", endless.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = endless.accept().expect("somebody comes");
        let lines = BufReader::new(&stream).lines().map_while(Result::ok);
        assert!(lines.take_while(|line| !line.is_empty()).count() > 1);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("it reads");
        while stream.write_all(&[b'.'; 4096]).is_ok() {}
    });
    let ran = run(&["send", "invoice.paid", "--to", &to]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("\n  ...."), "{ran:?}");
}

/// Another server than ours, which answers everything with this status and with the request's first line.
fn another_server(status: &'static str) -> String {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let to = format!("http://{}/hook", other.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for stream in other.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let lines = reader.by_ref().lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.expect("it says").parse().expect("it is a number");
            reader.take(length).read_to_end(&mut Vec::new()).expect("it is sent");
            let text = format!("\x1b[2JSignature of {}?", head[0]);
            let length = text.len();
            let head = format!("HTTP/1.1 {status}\r\nLocation: /\r\nContent-Length:");
            write!(&stream, "{head} {length}\r\n\r\n{text}").expect("it reads");
        }
    });
    to
}

#[test]
fn another_servers_answer_is_shown_as_it_is() {
    let ran = run(&["send", "invoice.paid", "--to", &another_server("302 Found")]);
    assert_eq!((ran.code, &*ran.stderr), (Some(1), ""));
    assert!(ran.stdout.contains("302 Found"), "a redirect is not followed: {ran:?}");
    // It is text, and commands the terminal nothing.
    assert!(ran.stdout.contains("\u{fffd}[2JSignature of POST /hook HTTP/1.1?"), "{ran:?}");
    // Whatever it calls a signature that it refuses.
    let ran = run(&["send", "invoice.paid", "--to", &another_server("400 Bad Request")]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("help: what was sent is signed with"), "{ran:?}");
}
