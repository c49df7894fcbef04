//! The program without an inbox: startup, a test event, options, shutdown.

use std::{fs, net::TcpListener};

use router_core::SigningSecret;

use crate::running::{Running, exchange, payment, program, refused, send};

#[test]
fn routes_are_printed_with_source_locations() {
    let server = Running::start(&mut program());
    let [report, routes] = server.printed.split("\n\n").take(2).collect::<Vec<_>>()[..] else {
        panic!("expected a report and routes: {}", server.printed)
    };
    // The rest lists the handlers of the shop, which are left out without an inbox.
    let first = concat!("handlers: 2 from handlers ", env!("CARGO_PKG_VERSION"), "\nleft out: ");
    assert!(report.starts_with(first), "{report}");
    let routes: Vec<Vec<&str>> =
        routes.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(routes[0], ["EVENT", "TYPE", "HANDLER", "SOURCE"]);
    let handlers = [
        ("payments.succeeded", "payment_succeeded"),
        ("payments.method_attached", "payment_method_attached"),
    ];
    for (route, (name, handler)) in routes[1..].iter().zip(handlers) {
        assert_eq!(route[1], name);
        // The location is that of the function's attribute.
        let (file, line) = route[2].split_once(':').unwrap();
        assert!(file.ends_with("handlers/src/payments.rs"), "{file}");
        let source = include_str!("../../../../handlers/src/payments.rs");
        let at_line: Vec<&str> = source.lines().skip(line.parse::<usize>().unwrap() - 1).collect();
        assert_eq!(at_line[0], format!("#[on_event(\"{}\", name = \"{name}\")]", route[0]));
        assert!(at_line[1].contains(handler), "{}", at_line[1]);
    }
    assert_eq!(routes.len(), 3);
}

#[test]
fn event_signed_with_development_secret_is_handled() {
    let server = Running::start(&mut program());
    assert!(server.printed.contains("STRIPE_WEBHOOK_SECRET is not set"), "{}", server.printed);
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/event-router/development-secret");
    let text = fs::read_to_string(file).unwrap();
    let secret = SigningSecret::new(text.trim_end()).unwrap();
    let answer = send(server.address(), &payment(&secret));
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains(r#""outcome":"done""#), "{answer}");
    // Another server of the same user has the same development secret.
    let other = Running::start(&mut program());
    assert!(send(other.address(), &payment(&secret)).starts_with("HTTP/1.1 200 OK"));

    let printed = server.printed.clone();
    let (status, log) = server.terminate();
    assert_eq!(status.code(), Some(0));
    let line = log.lines().find(|line| line.contains("payment succeeded")).unwrap();
    assert!(line.contains("amount=2000") && line.contains("evt_1"), "{line}");
    assert!(!printed.contains(&text) && !log.contains(&text), "{printed}{log}");
}

#[test]
fn banner_has_command_to_send_a_test_event() {
    let server = Running::start(&mut program());
    let send = "cargo run -p router-cli -- send payment_intent.succeeded --to http://";
    let last = format!(
        "\nTo send a test event, run in another terminal:\n\n{send}{}/webhook\n",
        server.address()
    );
    assert!(server.printed.ends_with(&last), "{}", server.printed);
    let server = Running::start(program().env("STRIPE_WEBHOOK_SECRET", "whsec_a"));
    let with =
        "To send a test event, run in another terminal, with the same STRIPE_WEBHOOK_SECRET:\n";
    assert!(server.printed.contains(with), "{}", server.printed);
}

#[test]
fn paths_and_methods_are_answered() {
    let server = Running::start(&mut program());
    let rows = [
        ("GET /webhook", "405 Method Not Allowed", "\r\nallow: POST\r\n"),
        ("POST /webhook", "400 Bad Request", r#"{"error":"signature verification failed"}"#),
        ("GET /healthz", "200 OK", "\r\n\r\nok\n"),
        ("HEAD /healthz", "200 OK", "\r\n\r\n"),
        ("POST /healthz", "405 Method Not Allowed", "\r\nallow: GET, HEAD\r\n"),
        ("GET /readyz", "200 OK", r#"{"ready":true,"reasons":[],"warnings":[]}"#),
        ("POST /", "404 Not Found", "events go to /webhook"),
        ("POST /webhook/", "404 Not Found", "events go to /webhook"),
    ];
    for (request_line, status, text) in rows {
        let response = exchange(server.address(), request_line);
        assert!(response.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{response}");
        assert!(response.contains(text), "{response}");
    }
}

#[test]
fn sigterm_exits_cleanly() {
    let (status, log) = Running::start(&mut program()).terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("SIGTERM") && log.contains("shutting down"), "{log}");
}

#[test]
fn given_secret_is_used_and_not_printed() {
    for list in ["whsec_a1b2c3d4", "platform=whsec_a1b2c3d4,connect=whsec_b1c2d3e4|whsec_c1d2e3f4"]
    {
        let mut server = program();
        let server = Running::start(server.env("STRIPE_WEBHOOK_SECRET", list));
        assert!(!server.printed.contains("STRIPE_WEBHOOK_SECRET is not set"), "{}", server.printed);
        let printed = server.printed.clone();
        let (status, log) = server.terminate();
        assert_eq!(status.code(), Some(0), "{log}");
        for text in ["a1b2c3d4", "b1c2d3e4", "c1d2e3f4"] {
            assert!(!printed.contains(text) && !log.contains(text), "{printed}{log}");
        }
    }
}

#[test]
fn public_address_without_secret_is_rejected() {
    let (code, stderr) = refused(program().arg("--listen=0.0.0.0:0"));
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("error: no signing secret was given"), "{stderr}");
    assert!(stderr.contains("set STRIPE_WEBHOOK_SECRET"), "{stderr}");
}

#[test]
fn invalid_secret_is_rejected_and_not_printed() {
    let rows = [
        ("sk_live_a1b2c3d4", "this is an API key (`sk_…`)"),
        ("whsec_a1b2c3d4\n", "white space"),
        ("", "is blank"),
        ("platform=whsec_a1b2c3d4,connect=rk_live_a1b2c3d4", "item 2 (`connect`)"),
    ];
    for (secret, problem) in rows {
        let (code, stderr) = refused(program().env("STRIPE_WEBHOOK_SECRET", secret));
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.starts_with("error: STRIPE_WEBHOOK_SECRET or --secret: "), "{stderr}");
        assert!(stderr.contains(problem), "{stderr}");
        assert!(!stderr.contains("a1b2c3d4"), "{stderr}");
        let (code, option_stderr) = refused(program().arg("--secret").arg(secret));
        assert_eq!((code, option_stderr), (Some(1), stderr));
    }
}

#[test]
fn invalid_options_are_rejected() {
    let rows = [
        ("--tolerance=0", "less than a second would reject Stripe's requests"),
        (
            "--tolerance=soon",
            "expected seconds, such as `300`, or a duration with a unit, such as `5m`",
        ),
        ("--listen=nowhere", "invalid socket address"),
    ];
    for (option, problem) in rows {
        let (code, stderr) = refused(program().arg(option));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(problem), "{stderr}");
    }
}

#[test]
fn occupied_port_error_names_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, stderr) = refused(program().arg(format!("--listen={address}")));
    assert_eq!(code, Some(1));
    // The worker has not started, so it claimed nothing.
    assert!(stderr.starts_with(&format!("error: cannot listen on {address}: ")), "{stderr}");
    assert!(stderr.contains("choose another address with `--listen`"), "{stderr}");
}
