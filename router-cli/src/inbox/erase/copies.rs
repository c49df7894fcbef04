//! The copies of erased data that a store cannot remove.

use std::str::FromStr as _;

use router_inbox::sqlx::sqlite::SqliteConnectOptions;

use crate::output::quoted;

/// Describes the remaining copies of erased data, and their removal, for the engine of this URL.
pub(super) fn remaining_copies(url: &str) -> String {
    match url.split_once(':') {
        Some(("sqlite", _)) => {
            let options = SqliteConnectOptions::from_str(url);
            let file = options.map(|options| options.get_filename().display().to_string());
            format!(
                "the file may still contain copies of the data: run `sqlite3 -cmd '.timeout 9999' {} \
                 'vacuum; pragma wal_checkpoint(truncate)'` until it prints `0|0|0`. Servers need not \
                 stop, but cannot store events while it runs; if that takes more than 5 s, they answer \
                 with 503, and Stripe redelivers. Backups contain the data until you delete them",
                quoted(file.as_deref().unwrap_or("FILE"))
            )
        }
        Some(("postgres" | "postgresql", _)) => {
            "the tables, and samples of them in PostgreSQL's statistics, may still contain copies of \
             the data: run `vacuum (full, analyze) stripe_inbox.events, stripe_inbox.redelivered, \
             stripe_inbox.deliveries`, then `vacuum full pg_statistic`. Do this as the owner of the \
             database or as a superuser: for other roles PostgreSQL prints a warning that it skips a \
             table. Servers need not stop, but cannot use the tables while it runs; if that takes \
             more than 5 s, they answer with 503, and Stripe redelivers. pg_wal, archived WAL and backups contain the data until they are \
             recycled or deleted"
                .to_owned()
        }
        _ => "the files of the NATS servers may still contain copies of the data: the servers do not \
              overwrite them, and remove them when they compact a file of which less than half is in \
              use, at the latest when the events stored next to them have been purged. Backups and \
              snapshots of the stream contain the data until you delete them"
            .to_owned(),
    }
}
