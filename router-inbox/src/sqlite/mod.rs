//! The embedded store: one SQLite file.

mod claims;
mod existing;
mod operations;
mod schema;
mod writes;

use std::{
    fmt,
    str::FromStr as _,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use router_core::{
    DeliveringService, Provision,
    clock::{Clock, SystemClock},
};
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqliteConnection, SqlitePool,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};
use tokio::sync::Mutex;

use crate::{
    Claim, Completed, End, KeptDelivery, Lease, NewEvent, State, Store, StoreError, Stored, Wanted,
};

/// A store in one SQLite file, which this process and others on the machine share. What was stored is on the
/// disk (`synchronous = FULL`) before Stripe is answered.
///
/// SQLite has one writer at a time, so all that writes in this process waits for its turn in one fair queue.
/// Readers do not wait.
///
/// ```
/// use router_inbox::{SqliteStore, Store as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let url = format!("sqlite:{}/inbox.db", folder.path().display());
/// let store = SqliteStore::open(&url).await?; // "sqlite:inbox.db"
/// assert!(store.deliveries("evt_1").await?.is_empty());
/// # Ok(())
/// # }
/// ```
pub struct SqliteStore {
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "{url} cannot be opened as an inbox; name a file of an inbox, or a new one in a folder that can be written to"
)]
struct NotOpened {
    url: String,
    source: sqlx::Error,
}

/// How long another process's write is waited for.
const BUSY: Duration = Duration::from_secs(5);

impl SqliteStore {
    /// Opens the file that a URL such as `sqlite:inbox.db` names, makes it if it is not there, and brings its
    /// tables up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the file cannot be opened or is no database.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let opened = Self::open_file(url).await;
        opened.map_err(|source| StoreError::of(NotOpened { url: url.to_owned(), source }))
    }

    async fn open_file(url: &str) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::from_str(url)?;
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let mut writer = connect(&options).await?;
        schema::migrate(&mut writer).await?;
        let readers = SqlitePoolOptions::new().max_connections(4);
        let readers = readers.connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Self { writer: Mutex::new(writer), readers, clock: Arc::new(SystemClock) })
    }

    /// Where the time comes from; the machine's clock by default. All processes that share the file must agree
    /// about it.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    fn now(&self) -> i64 {
        millis(self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl DeliveringService for SqliteStore {
    fn provides(&self) -> Vec<Provision> {
        Vec::new()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut write = writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::of)?;
        let now = self.now();
        let mut stored = Vec::with_capacity(events.len());
        for event in events {
            stored.push(writes::store(&mut write, event, now).await.map_err(StoreError::of)?);
        }
        write.commit().await.map_err(StoreError::of)?;
        Ok(stored)
    }

    async fn claim(&self, wanted: &Wanted) -> Result<Vec<Claim>, StoreError> {
        // Mostly nothing is due, and then nobody need wait for a turn to write.
        let mut reader = self.readers.acquire().await.map_err(StoreError::of)?;
        let due = claims::due(&mut reader, wanted, self.now()).await.map_err(StoreError::of)?;
        drop(reader);
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut writer = self.writer.lock().await;
        let mut write = writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::of)?;
        let claims = claims::claim(&mut write, wanted, self.now()).await.map_err(StoreError::of)?;
        write.commit().await.map_err(StoreError::of)?;
        Ok(claims)
    }

    async fn extend(&self, leases: &[Lease], time: Duration) -> Result<Vec<bool>, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut write = writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::of)?;
        let until = self.now().saturating_add(millis(time));
        let mut extended = Vec::with_capacity(leases.len());
        for lease in leases {
            let held = writes::extend(&mut write, lease, until).await.map_err(StoreError::of)?;
            extended.push(held);
        }
        write.commit().await.map_err(StoreError::of)?;
        Ok(extended)
    }

    async fn complete(&self, ends: &[(Lease, End)]) -> Result<Vec<Completed>, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut write = writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::of)?;
        let now = self.now();
        let mut completed = Vec::with_capacity(ends.len());
        for (lease, end) in ends {
            let recorded = writes::complete(&mut write, lease, end, now).await;
            completed.push(recorded.map_err(StoreError::of)?);
        }
        write.commit().await.map_err(StoreError::of)?;
        Ok(completed)
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<KeptDelivery>, StoreError> {
        let rows = sqlx::query(
            "select endpoint, account, generation, handler, state, attempts, error
             from events join deliveries on deliveries.event = events.id
             where event_id = ?1 order by endpoint, account, generation, handler",
        );
        let rows = rows.bind(event_id).fetch_all(&self.readers).await.map_err(StoreError::of)?;
        rows.iter().map(kept).collect::<Result<_, _>>().map_err(StoreError::of)
    }
}

/// Connects, once no other process is about to make the file too.
///
/// SQLite waits for other writers (`busy_timeout`), but not where a file becomes one with a WAL: for that it
/// must be alone, and two that each wait for the other would wait for ever, so one of them is told at once that
/// the file is locked.
async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    let until = SystemClock.monotonic() + BUSY;
    loop {
        match options.connect().await {
            Err(error) if is_locked(&error) && SystemClock.monotonic() < until => {
                SystemClock.sleep(Duration::from_millis(10)).await;
            }
            connected => return connected,
        }
    }
}

fn is_locked(error: &sqlx::Error) -> bool {
    // `SQLITE_BUSY`; an extended code has it in its lowest byte.
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

fn kept(row: &SqliteRow) -> sqlx::Result<KeptDelivery> {
    let account: String = row.try_get("account")?;
    let handler: String = row.try_get("handler")?;
    Ok(KeptDelivery {
        endpoint: row.try_get("endpoint")?,
        account: (!account.is_empty()).then_some(account),
        generation: row.try_get("generation")?,
        handler: handler.into(),
        state: state(row.try_get("state")?)?,
        attempts: row.try_get("attempts")?,
        error: row.try_get("error")?,
    })
}

fn state(number: i64) -> sqlx::Result<State> {
    Ok(match number {
        0 => State::Waiting,
        1 => State::Running,
        2 => State::Done,
        3 => State::Ignored,
        4 => State::Dead,
        5 => State::Discarded,
        other => return Err(sqlx::Error::Decode(format!("{other} is no state").into())),
    })
}

fn number(state: State) -> i64 {
    match state {
        State::Waiting => 0,
        State::Running => 1,
        State::Done => 2,
        State::Ignored => 3,
        State::Dead => 4,
        State::Discarded => 5,
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn time(millis: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(millis).ok()?))
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `synchronous` is of a connection, not of the file, so nobody else could look.
    #[tokio::test]
    async fn a_commit_is_on_the_disk_before_it_returns() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/inbox.db", folder.path().display());
        let store = SqliteStore::open(&url).await.unwrap();
        let mut writer = store.writer.lock().await;
        let set = sqlx::query("pragma synchronous").fetch_one(&mut *writer).await.unwrap();
        assert_eq!(set.get::<i64, _>(0), 2, "FULL");
        let mode = sqlx::query("pragma journal_mode").fetch_one(&mut *writer).await.unwrap();
        assert_eq!(mode.get::<String, _>(0), "wal");
    }
}
