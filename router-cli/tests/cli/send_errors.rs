//! `send` to a server that rejects the signature, uses another framework or does not answer.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
};

use crate::{
    program::{CliOutput, SECRET, program, run},
    test_server::TestServer,
};

#[test]
fn rejected_signature_names_the_secret_used() {
    let server = TestServer::start();
    let output = server.run(&["send", "invoice.paid", "--secret", "whsec_another", "--seed", "7"]);
    assert_eq!(output.code, Some(1));
    insta::assert_snapshot!(server.redact(&output.stdout), @r#"
    invoice.paid  evt_17J5Ytqg5QYx1x3EOIv1KGCU  seed 7
      400 Bad Request in · ms
      {"error":"signature verification failed"}
    "#);
    insta::assert_snapshot!(server.redact(&output.stderr), @"help: the events are signed with the secret from --secret or STRIPE_WEBHOOK_SECRET, but URL expects another one; set STRIPE_WEBHOOK_SECRET to the server's signing secret");
    let mut without = program(&["send", "invoice.paid", "--to", &server.url]);
    let output = CliOutput::from(without.env_remove("STRIPE_WEBHOOK_SECRET").output().unwrap());
    assert!(output.stderr.contains("your development secret"), "{output:?}");
    // The first of several secrets is the default; --endpoint selects another.
    let list = format!("connect=whsec_another,platform={SECRET}");
    let output = server.run(&["send", "invoice.paid", "--secret", &list]);
    assert_eq!(output.code, Some(1));
    let output = server.run(&["send", "invoice.paid", "--secret", &list, "--endpoint", "platform"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let output = server.run(&["send", "invoice.paid", "--secret", &list, "--endpoint", "thin"]);
    insta::assert_snapshot!(output.stderr, @"error: no signing secret for endpoint `thin`; secrets are given for: connect, platform");
}

#[test]
fn refused_connection_names_the_fix() {
    // Bound and not listening, so that no other test gets the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = socket.local_addr().unwrap();
    let output =
        run(&["send", "invoice.paid", "--seed", "7", "--to", &format!("http://{free}/webhook")]);
    assert_eq!(output.code, Some(3));
    insta::assert_snapshot!(output.stdout.replace(&free.to_string(), "ADDRESS"), @r"
    invoice.paid  evt_17J5Ytqg5QYx1x3EOIv1KGCU  seed 7
      nothing listens at ADDRESS; start the server (`cargo run`), or pass its URL with --to
    ");
}

#[test]
fn silent_server_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/webhook", silent.local_addr().unwrap());
    let output = run(&["send", "invoice.paid", "--to", &to, "--timeout", "100ms"]);
    assert_eq!(output.code, Some(3));
    assert!(output.stdout.contains("no answer within 100ms (--timeout)"), "{output:?}");
}

#[test]
fn tls_and_connect_errors_are_distinguished() {
    let server = TestServer::start();
    let output = run(&["send", "invoice.paid", "--to", &server.url.replace("http:", "https:")]);
    assert_eq!(output.code, Some(3));
    assert!(
        output.stdout.contains("does not use TLS; try http:// instead of https://"),
        "{output:?}"
    );
    // No host can connect to the broadcast address.
    let output = run(&["send", "invoice.paid", "--to", "http://255.255.255.255/webhook"]);
    assert_eq!(output.code, Some(3));
    assert!(output.stdout.contains("cannot connect to 255.255.255.255:80: "), "{output:?}");
    assert!(output.stdout.contains("; check --to"), "{output:?}");
}

#[test]
fn ctrl_c_prints_the_summary() {
    let server = TestServer::start();
    let mut command = program(&["send", "charge.failed", "--repeat", "1000", "--rate", "0.01"]);
    let command = command.args(["--to", &server.url]);
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
fn endless_answer_is_truncated() {
    let endless = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/webhook", endless.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = endless.accept().expect("the program connects");
        let lines = BufReader::new(&stream).lines().map_while(Result::ok);
        assert!(lines.take_while(|line| !line.is_empty()).count() > 1);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("the program reads the answer");
        while stream.write_all(&[b'.'; 4096]).is_ok() {}
    });
    let output = run(&["send", "invoice.paid", "--to", &to]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("\n  ...."), "{output:?}");
}

/// Starts a foreign server, which answers each request with this status and the request line.
fn foreign_server(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let to = format!("http://{}/hook", listener.local_addr().expect("the listener is bound"));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let lines = reader.by_ref().lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
            let length =
                length.expect("the request has a length").parse().expect("the length is a number");
            reader.take(length).read_to_end(&mut Vec::new()).expect("the body is sent");
            let text = format!("\x1b[2JSignature of {}?", head[0]);
            let length = text.len();
            let head = format!("HTTP/1.1 {status}\r\nLocation: /\r\nContent-Length:");
            write!(&stream, "{head} {length}\r\n\r\n{text}").expect("the program reads the answer");
        }
    });
    to
}

#[test]
fn foreign_answer_is_printed_sanitized() {
    let output = run(&["send", "invoice.paid", "--to", &foreign_server("302 Found")]);
    assert_eq!((output.code, &*output.stderr), (Some(1), ""));
    assert!(output.stdout.contains("302 Found"), "a redirect is not followed: {output:?}");
    // Control characters are replaced.
    assert!(output.stdout.contains("\u{fffd}[2JSignature of POST /hook HTTP/1.1?"), "{output:?}");
    // A rejected signature is recognized by any text that mentions it.
    let output = run(&["send", "invoice.paid", "--to", &foreign_server("400 Bad Request")]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.starts_with("help: the events are signed with"), "{output:?}");
}
