//! An inbox that a server uses at the same time.

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use router_inbox::store::Operations as _;

use super::{
    DAY, MINUTE, TestInbox,
    engine::{Engine, Sqlite, on_each_store},
};
use crate::program::{CliOutput, program};

on_each_store!(server_stores_events_while_commands_run);

/// No command blocks the server, and the server blocks no command.
fn server_stores_events_while_commands_run(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, DAY * 40);
    inbox.store_many(400, "audit");
    inbox.advance(DAY * 40);
    let (is_finished, stored) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_finished.load(Ordering::Relaxed) {
                let number = stored.fetch_add(1, Ordering::Relaxed);
                // Fails on SQLite if another process locks the file for more than five seconds.
                inbox.store(&format!("evt_live_{number}"), "invoice.paid", "in_1", &["mail"]);
            }
        });
        let before = stored.load(Ordering::Relaxed);
        let commands: [&[&str]; 8] = [
            &["status"],
            &["list", "--state", "waiting", "--type", "invoice.paid"],
            &["replay", "--until", "30days", "--yes"],
            &["discard", "evt_1", "--yes"],
            &["retry", "evt_2"],
            &["discard", "--handler", "audit", "--state", "waiting", "--yes"],
            &["erase", "evt_1", "--yes"],
            &["purge", "--older-than", "30days", "--yes"],
        ];
        let outputs: Vec<_> = commands.iter().map(|arguments| inbox.run(arguments)).collect();
        let after = stored.load(Ordering::Relaxed);
        is_finished.store(true, Ordering::Relaxed);
        for output in outputs {
            assert_eq!(output.code, Some(0), "{output:?}");
        }
        assert!(after > before + 10, "{before}, {after}");
    });
    let status = inbox.runtime.block_on(inbox.store.status()).unwrap();
    let stored = stored.load(Ordering::Relaxed) as u64;
    assert_eq!(status.events, 800 + stored, "no event and no replay is missing");
}

#[test]
fn ctrl_c_during_replay_reports_progress() {
    let inbox = TestInbox::empty(Sqlite::new(), MINUTE * 10);
    inbox.store_many(3_000, "audit");
    let url = inbox.engine.url();
    let mut command = program(&["inbox", "replay", "--until", "1min", "--yes", "--inbox", &url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let events = || inbox.runtime.block_on(inbox.store.status()).unwrap().events;
    while events() == 3_000 {
        assert!(child.try_wait().unwrap().is_none(), "the replay is running");
    }
    let kill = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    let output = CliOutput::from(child.wait_with_output().unwrap());
    assert_eq!(output.code, Some(130), "{output:?}");
    let replayed = events() - 3_000;
    assert_eq!(output.stdout, format!("{replayed} events replayed\n"));
    assert_eq!(
        output.stderr,
        format!("interrupted: {} of 3000 events were not processed\n", 3_000 - replayed)
    );
}
