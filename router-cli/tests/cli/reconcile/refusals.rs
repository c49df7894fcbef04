//! Events that are not sent, and options that do not fit.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::store::Operations as _;
use router_stripe::testing::{Fault, STUB_KEY};
use serde_json::json;

use super::{EVENTS, MINUTE, Shop, event, numbers, output, server::ScriptedServer};
use crate::program::{CliOutput, SECRET, program};

#[tokio::test(flavor = "multi_thread")]
async fn event_under_another_endpoint_is_reported_and_not_sent() {
    let shop = Shop::new().await;
    shop.miss_many(2);
    shop.server.deliver(&[event("evt_0", MINUTE * 12), event("evt_1", MINUTE * 11)]);
    let run = |arguments: &[&str]| {
        let mut command = shop.command(arguments);
        output(command.env("STRIPE_WEBHOOK_SECRET", format!("wrong={SECRET}")))
    };
    let result = run(&["--json"]);
    assert_eq!(result.code, Some(1), "{result:?}");
    assert_eq!(numbers(&result), json!({"listed": 2, "other_endpoint": 2}));
    let lines = run(&["--since", "1d"]).stdout;
    let text = "evt_0  not sent: stored under endpoint default, not endpoint wrong\n";
    assert!(lines.contains(text), "{lines}");

    // An event that the inbox does not have reveals the name that the server uses.
    shop.miss("", "evt_2", MINUTE * 2);
    let result = run(&["--since", "5m"]);
    assert_eq!(result.code, Some(1), "{result:?}");
    insta::assert_snapshot!(result.stderr, @"error: the server received evt_2 under endpoint default, not under endpoint wrong; pass the name of its endpoint with --endpoint, --connect-endpoint or --thin-endpoint");
    let runs = shop.server.runs(3).await;
    assert!(runs.len() == 3 && runs.values().all(|runs| *runs == 1), "{runs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_with_another_inbox_ends_the_run() {
    let shop = Shop::new().await;
    shop.miss_many(2);
    let other = ScriptedServer::start(&[]);
    let result = output(&mut shop.command_to(&other.url, &[]));
    assert_eq!(result.code, Some(1), "{result:?}");
    insta::assert_snapshot!(result.stderr, @"error: the server accepted evt_0, but the inbox does not have it; check that the server at --to uses the inbox of --inbox");
    assert_eq!(other.received(), ["evt_0"]);
    assert!(shop.server.will_read(MINUTE * 11).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_ends_if_the_server_is_down_and_goes_on_later() {
    let shop = Shop::new().await;
    shop.miss_many(2);
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = closed.local_addr().expect("the listener is bound");
    drop(closed);
    let result = output(&mut shop.command_to(&format!("http://{address}/webhook"), &[]));
    assert_eq!(result.code, Some(3), "{result:?}");
    let stderr = result.stderr.replace(&address.to_string(), "ADDRESS");
    insta::assert_snapshot!(stderr, @"error: evt_0 was not sent: nothing listens at ADDRESS; start the server (`cargo run`), or pass its URL with --to");
    assert!(
        result.stdout.ends_with("\n0 missed events sent, 1 not sent, later events were not read\n"),
        "{result:?}"
    );
    assert!(shop.server.will_read(MINUTE * 11).await);

    let result = shop.run(&["--json"]);
    assert_eq!(numbers(&result), json!({"listed": 2, "missed": 2}), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_event_ends_the_run_and_a_busy_server_does_not() {
    let shop = Shop::new().await;
    shop.miss_many(3);
    // Without an inbox, so that the answers alone decide.
    let run = |to: &str| {
        let base = shop.stripe.url();
        let arguments = ["reconcile", "--api-base", &base, "--since", "1d", "--to", to];
        output(program(&arguments).env("STRIPE_API_KEY", STUB_KEY))
    };
    let server = ScriptedServer::start(&[503, 429, 200, 404]);
    let result = run(&server.url);
    assert_eq!(result.code, Some(1), "{result:?}");
    assert_eq!(server.received(), ["evt_0", "evt_0", "evt_0", "evt_1"]);
    let stderr = result.stderr.replace(&server.url, "URL");
    insta::assert_snapshot!(stderr, @"error: URL did not accept evt_1: 404 Not Found");
    assert!(
        result.stdout.ends_with("\n1 missed event sent, 1 not sent, later events were not read\n"),
        "{result:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_signature_names_the_secret() {
    let shop = Shop::new().await;
    shop.miss_many(1);
    let mut command = shop.command(&[]);
    let result = output(command.env("STRIPE_WEBHOOK_SECRET", "whsec_of_another_server"));
    assert_eq!(result.code, Some(1), "{result:?}");
    insta::assert_snapshot!(shop.redact(&result.stderr), @"
    error: URL did not accept evt_0: 400 Bad Request signature verification failed
    help: the events are signed with the secret from --secret or STRIPE_WEBHOOK_SECRET, but URL expects another one; set STRIPE_WEBHOOK_SECRET to the server's signing secret
    ");
    assert!(shop.server.will_read(MINUTE * 11).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn resend_asks_stripe_for_each_missed_event() {
    let shop = Shop::new().await;
    shop.miss_many(2);
    shop.miss("acct_1", "evt_c", MINUTE * 5);
    shop.server.deliver(&[event("evt_0", MINUTE * 12)]);
    let arguments = ["--resend", "--webhook-endpoint", "we_1", "--account", "acct_1"];
    let result = shop.run(&arguments);
    assert_eq!(result.code, Some(0), "{result:?}");
    assert!(
        result.stdout.ends_with("2 missed events requested from Stripe, 1 in the inbox already\n"),
        "{result:?}"
    );
    let requests = shop.stripe.requests();
    let posts: Vec<_> = requests.iter().filter(|request| request.method == "POST").collect();
    let posts: Vec<_> = posts
        .iter()
        .map(|request| (&*request.path, String::from_utf8_lossy(&request.body).into_owned()))
        .collect();
    let expected = [
        ("/v1/events/evt_1/retry", "webhook_endpoint=we_1".to_owned()),
        ("/v1/events/evt_c/retry", "webhook_endpoint=we_1&account=acct_1".to_owned()),
    ];
    assert_eq!(posts, expected);
    assert_eq!(shop.server.checkpoint("v1/default/self").await, None);
    assert_eq!(shop.server.events().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn resend_includes_events_under_another_endpoint() {
    let shop = Shop::new().await;
    shop.miss_many(1);
    let mut delivered = event("evt_0", MINUTE * 11);
    delivered["account"] = "acct_1".into();
    shop.server.deliver(&[delivered]);
    let arguments = ["--resend", "--webhook-endpoint", "we_1", "--json"];
    let result = shop.run(&arguments);
    assert_eq!(result.code, Some(0), "{result:?}");
    assert_eq!(numbers(&result), json!({"listed": 1, "missed": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn resend_refuses_an_id_that_leads_elsewhere() {
    let shop = Shop::new().await;
    shop.miss("", "../payouts?amount=1#", MINUTE * 5);
    let result = shop.run(&["--resend", "--webhook-endpoint", "we_1"]);
    assert_eq!(result.code, Some(1), "{result:?}");
    assert!(shop.stripe.requests().iter().all(|request| request.method == "GET"));
    let error = "error: ../payouts?amount=1# is not an id that Stripe can deliver again";
    assert!(result.stderr.starts_with(error), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_output_ends_a_run_with_a_failure() {
    let shop = Shop::new().await;
    shop.miss_many(20);
    let closed = |command: &mut Command| {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn();
        let result = child.and_then(Child::wait_with_output).expect("the program runs");
        CliOutput::from(result)
    };
    let result = closed(&mut shop.command(&[]));
    assert_eq!(result.code, Some(1), "{result:?}");
    insta::assert_snapshot!(result.stderr, @"error: the output was closed, so the run ended; later events were not read");
    assert!(shop.server.will_read(MINUTE * 20).await);

    // The error of the server is not hidden by that of the output.
    let server = ScriptedServer::start(&[404]);
    let result = closed(&mut shop.command_to(&server.url, &[]));
    assert_eq!(result.code, Some(1), "{result:?}");
    assert!(result.stderr.ends_with("did not accept evt_1: 404 Not Found\n"), "{result:?}");

    // Nothing is left undone.
    let result = closed(&mut shop.command(&["--dry-run"]));
    assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{result:?}");
    assert_eq!(shop.run(&[]).code, Some(0));
    let result = closed(&mut shop.command(&[]));
    assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_wait_for_stripe() {
    let shop = Shop::new().await;
    shop.miss_many(1);
    assert_eq!(shop.run(&[]).code, Some(0));
    let hold = shop.stripe.hold_at(EVENTS);
    let mut child = shop.command(&[]).stdout(Stdio::piped()).spawn().expect("the program runs");
    hold.arrived().await;
    let requests = shop.stripe.requests().len();
    let kill = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(kill.expect("`kill` is installed").success());
    // The request is never answered.
    assert_eq!(child.wait().expect("the program exits").code(), Some(130));
    assert_eq!(shop.stripe.requests().len(), requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_an_event_stays_on_its_line() {
    let shop = Shop::new().await;
    let mut event = event("evt_0\n2026  invoice.paid  evt_1  200 OK", MINUTE * 5);
    event["delivery_success"] = false.into();
    event["type"] = "invoice.paid\nevt_2".into();
    shop.stripe.add_item(EVENTS, event);
    let result = shop.run(&["--dry-run"]);
    assert_eq!(result.code, Some(0), "{result:?}");
    assert_eq!(result.stdout.lines().count(), 2, "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn password_in_the_url_is_not_printed() {
    let shop = Shop::new().await;
    shop.miss_many(1);
    let server = ScriptedServer::start(&[400]);
    let url = server.url.replace("http://", "http://user:pa55word@");
    for url in [&*url, "http://user:pa55word@host:99999/"] {
        let result = output(&mut shop.command_to(url, &[]));
        assert_ne!(result.code, Some(0), "{result:?}");
        assert!(!format!("{result:?}").contains("pa55word"), "{result:?}");
    }
    assert_eq!(server.received(), ["evt_0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_of_two_accounts_is_sent_once_without_an_inbox() {
    let shop = Shop::new().await;
    // The account's own id is given as that of a connected account.
    shop.miss("", "evt_0", MINUTE * 5);
    shop.miss("acct_own", "evt_0", MINUTE * 5);
    let base = shop.stripe.url();
    let arguments = ["reconcile", "--api-base", &base, "--since", "1d", "--account", "acct_own"];
    let mut command = program(&[&arguments[..], &["--to", &shop.server.url, "--json"]].concat());
    let result = output(command.env("STRIPE_API_KEY", STUB_KEY));
    assert_eq!(result.code, Some(1), "{result:?}");
    assert_eq!(numbers(&result), json!({"listed": 2, "missed": 1, "other_endpoint": 1}));
    assert_eq!(shop.server.events().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_item_is_reported_and_the_run_goes_on() {
    let shop = Shop::new().await;
    let created = event("evt_0", MINUTE * 3)["created"].clone();
    shop.stripe.add_item(
        EVENTS,
        json!({"id": "evt_bad\u{1b}[31m", "created": created, "delivery_success": false}),
    );
    shop.miss("", "evt_1", MINUTE * 2);
    let result = shop.run(&[]);
    assert_eq!(result.code, Some(1), "{result:?}");
    assert!(
        result.stdout.starts_with("evt_bad\u{fffd}[31m  unreadable in the list v1/"),
        "{result:?}"
    );
    assert!(result.stdout.ends_with("1 missed event sent, 1 unreadable\n"), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_list_of_an_account_does_not_stop_the_others() {
    let shop = Shop::new().await;
    shop.miss("acct_2", "evt_c", MINUTE * 5);
    // Two requests are for the account's own events, and the third is for those of acct_1.
    for fault in [Fault::delay(Duration::ZERO), Fault::delay(Duration::ZERO), Fault::status(403)] {
        shop.stripe.fault_at(EVENTS, fault);
    }
    let result = shop.run(&["--since", "1h", "--account", "acct_1", "--account", "acct_2"]);
    assert_eq!(result.code, Some(3), "{result:?}");
    let lines: Vec<_> = result.stderr.lines().collect();
    assert!(lines[0].starts_with("the next run does not begin where this one ends"), "{result:?}");
    assert!(lines[1].starts_with("error: GET /v1/events failed"), "{result:?}");
    // The error has a second line, with the permission.
    assert_eq!(lines.len(), 3, "{result:?}");
    let summary = "\n1 missed event sent, 1 of the lists could not be read\n";
    assert!(result.stdout.ends_with(summary), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_checkpoint_is_an_error() {
    let shop = Shop::new().await;
    let name = "stripe-events/test/v1/default/self";
    shop.server.store.set_checkpoint(name, "yesterday").await.expect("the store works");
    let result = shop.run(&[]);
    assert_eq!(result.code, Some(2), "{result:?}");
    let error =
        "error: the checkpoint stripe-events/test/v1/default/self in the inbox is not a time";
    assert!(result.stderr.starts_with(error), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoint_in_the_future_is_not_used() {
    let shop = Shop::new().await;
    shop.miss_many(1);
    let name = "stripe-events/test/v1/default/self";
    let future = humantime::format_rfc3339_seconds(SystemClock.wall() + MINUTE * 10).to_string();
    shop.server.store.set_checkpoint(name, &future).await.expect("the store works");
    let result = shop.run(&["--json"]);
    assert_eq!(result.code, Some(0), "{result:?}");
    assert_eq!(numbers(&result), json!({"listed": 1, "missed": 1}));
    let warning = format!("warning: the last run ended at {future}, which is in the future");
    assert!(result.stderr.starts_with(&warning), "{result:?}");
    assert!(!shop.server.will_read(MINUTE * 9).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn date_of_another_clock_ends_the_run() {
    let shop = Shop::new().await;
    shop.miss_many(1);
    shop.stripe.set_clock_ahead(MINUTE * 60 * 25);
    let result = shop.run(&[]);
    assert_eq!(result.code, Some(3), "{result:?}");
    let error = "more than a day away from this machine's clock; check the clock, and the proxy";
    assert!(result.stderr.contains(error), "{result:?}");
    assert_eq!(shop.server.checkpoint("v1/default/self").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_routes_are_a_usage_error() {
    let shop = Shop::new().await;
    let routes = shop.server.file("routes.json");
    std::fs::write(&routes, "[]").expect("the file is written");
    let result = shop.run(&["--thin", "--routes", routes.to_str().expect("the path is Unicode")]);
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(result.stderr.starts_with("error: --routes has no routes"), "{result:?}");
    assert_eq!(shop.server.checkpoint("v2/default/self").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permission_is_named() {
    let shop = Shop::new().await;
    shop.stripe.fault(Fault::error(403, "The key needs a permission."));
    let result = shop.run(&[]);
    assert_eq!(result.code, Some(3), "{result:?}");
    insta::assert_snapshot!(result.stderr, @r#"
    error: GET /v1/events failed (403): The key needs a permission; add the permission to the restricted key in Stripe's dashboard [req_1]
      `reconcile` needs the permission "Events": Read, or Write for --resend; and with --all-accounts also Read for the connected accounts
    "#);
}

#[test]
fn options_that_do_not_fit_are_usage_errors() {
    let run = |arguments: &[&str], configure: fn(&mut Command)| {
        let mut command = program(&[&["reconcile"], arguments].concat());
        configure(&mut command);
        output(&mut command)
    };
    let inbox = ["--inbox", "sqlite:none.db"];
    for (arguments, error) in [
        (&[][..], "without --inbox, it is unknown where the last run ended"),
        (&["--all"], "--all lists all events of the account; pass --since"),
        (&["--all", "--since", "7d"], "pass --routes FILE|URL"),
        (&["--thin", "--since", "7d"], "pass --routes FILE|URL"),
        (&["--since", "9999-01-01T00:00:00Z"], "--since is in the future"),
        (&["--since", "yesterday"], "expected a duration, as in `3d`, or a time in UTC"),
        (&["--since", "3d", "--resend"], "--webhook-endpoint"),
        (&["--since", "3d", "--webhook-endpoint", "we_1"], "--resend"),
        (&["--since", "3d", "--type", "invoice*"], "`*` can only be the last part"),
        (&["--since", "3d", "--account", "1"], "expected the id of an account"),
        (&["--follow", "--since", "3d"], "cannot be used with"),
        (&["--follow", "--interval", "1ms"], "the minimum is 500ms"),
        (&["--interval", "1s"], "--follow"),
        (&inbox, "STRIPE_API_KEY: the environment variable"),
    ] {
        let result = run(arguments, |_| {});
        assert_eq!((result.code, &*result.stdout), (Some(2), ""), "{arguments:?}: {result:?}");
        assert!(result.stderr.contains(error), "{arguments:?}: {result:?}");
    }
    let result = run(&["--follow"], |command| {
        command.env("STRIPE_API_KEY", "rk_live_abc");
    });
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(result.stderr.contains("a key for live mode"), "{result:?}");
    let result = run(&inbox, |command| {
        command.env("STRIPE_API_KEY", STUB_KEY);
    });
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(result.stderr.contains("does not exist; the webhook server creates"), "{result:?}");
}
