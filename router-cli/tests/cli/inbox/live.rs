//! An inbox that a server uses meanwhile, or that is damaged.

use std::{
    os::unix::fs::FileExt as _,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use router_inbox::Operations as _;

use super::{DAY, Desk, MINUTE};
use crate::program::{Ran, program};

/// Nothing that is asked of the file keeps Stripe's events from it, nor do they keep anybody from asking.
#[test]
fn a_server_goes_on_storing_while_its_inbox_is_operated() {
    let desk = Desk::empty(DAY * 40);
    desk.store_many(400, "audit");
    desk.clock.advance(DAY * 40);
    let (is_over, stored) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let number = stored.fetch_add(1, Ordering::Relaxed);
                // It fails where another process holds the file for more than five seconds.
                desk.store(&format!("evt_live_{number}"), "invoice.paid", "in_1", &["mail"]);
            }
        });
        let before = stored.load(Ordering::Relaxed);
        let commands: [&[&str]; 6] = [
            &["status"],
            &["list", "--state", "waiting", "--type", "invoice.paid"],
            &["replay", "--until", "30days", "--yes"],
            &["discard", "evt_1", "--yes"],
            &["retry", "evt_2"],
            &["purge", "--older-than", "30days", "--yes"],
        ];
        let ran: Vec<_> = commands.iter().map(|arguments| desk.run(arguments)).collect();
        let after = stored.load(Ordering::Relaxed);
        is_over.store(true, Ordering::Relaxed);
        for ran in ran {
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
        assert!(after > before + 10, "{before}, {after}");
    });
    let told = desk.runtime.block_on(desk.store.status()).unwrap();
    let stored = stored.load(Ordering::Relaxed) as u64;
    assert_eq!(told.events, 800 + stored, "each event is there, and each replay");
}

#[test]
fn whoever_stops_a_replay_is_told_how_far_it_came() {
    let desk = Desk::empty(MINUTE * 10);
    desk.store_many(3_000, "audit");
    let url = desk.url();
    let mut command = program(&["inbox", "replay", "--until", "1min", "--yes", "--inbox", &url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let events = || desk.runtime.block_on(desk.store.status()).unwrap().events;
    while events() == 3_000 {
        assert!(child.try_wait().unwrap().is_none(), "it has begun");
    }
    let kill = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{ran:?}");
    let replayed = events() - 3_000;
    assert_eq!(ran.stdout, format!("{replayed} events replayed\n"));
    assert_eq!(ran.stderr, format!("stopped: {} of 3000 were not reached\n", 3_000 - replayed));
}

#[test]
fn a_damaged_file_is_said_to_be_so() {
    let desk = Desk::empty(MINUTE);
    desk.store_many(500, "audit");
    let Desk { runtime, store, folder, .. } = desk;
    // Whoever closes it last writes all of it into the file, and takes the log away.
    drop(store);
    drop(runtime);
    let path = folder.path().join("inbox.db");
    while path.with_extension("db-wal").exists() {
        thread::yield_now();
    }
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.write_all_at(&vec![0xff; (length / 2) as usize], length / 2).unwrap();
    let url = format!("sqlite:{}", path.display());
    let ran = crate::program::run(&["inbox", "list", "--inbox", &url]);
    assert_eq!((ran.code, &*ran.stdout), (Some(3), ""), "{ran:?}");
    assert!(ran.stderr.contains("database disk image is malformed"), "{ran:?}");
}
