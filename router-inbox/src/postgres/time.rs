//! Detects that the server's clock was set back, and corrects the due times.

use std::sync::{Mutex, PoisonError};

use router_core::clock::{Clock as _, SystemClock};
use sqlx::{PgConnection, Row as _};

use super::schema::Schema;
use crate::store::{
    MAX_CLOCK_STEP,
    rows::millis,
    set_back::{MAX_CORRECTED, Reading, SetBack},
};

/// Compares the server's time with the monotonic time of this process.
pub(super) struct ServerTime {
    last: Mutex<Option<Reading>>,
    set_back: SetBack,
}

impl ServerTime {
    pub(super) fn new() -> Self {
        Self { last: Mutex::default(), set_back: SetBack::new() }
    }

    /// Notices a jump since the last reading. `time` is the server's, in milliseconds since 1970.
    pub(super) fn observe(&self, time: i64) {
        let reading = Reading { time, instant: SystemClock.monotonic() };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.replace(reading).is_some_and(|last| reading.jump_since(last) < 0) {
            self.set_back.notice();
        }
    }

    /// Runs `correction` if the clock may have been set back, see [`SetBack::correct`].
    pub(super) async fn correct<E>(
        &self,
        correction: impl Future<Output = Result<Option<u64>, E>>,
    ) -> Result<(), E> {
        self.set_back.correct(SystemClock.monotonic(), correction).await
    }
}

/// Open deliveries that are due later than `$1` after now plus their delay. Reads only indexes
/// without finished deliveries.
macro_rules! due_too_late {
    () => {
        "select id from inbox.deliveries
         where state <= 1 and not blocked
             and due > (select inbox.inbox_now()) + $1 and due > (select inbox.inbox_now()) + delay + $1
         union all
         select id from inbox.deliveries
         where state = 0 and lane is not null and blocked
             and due > (select inbox.inbox_now()) + $1 and due > (select inbox.inbox_now()) + delay + $1"
    };
}

/// Limits the due times of up to [`MAX_CORRECTED`] open deliveries to now plus their delay. Returns
/// the number of deliveries changed, or `None` if none is due too late. Ignores differences up to
/// [`MAX_CLOCK_STEP`].
///
/// Like a claim, this skips deliveries that another transaction has locked, and thus never waits
/// for a lock.
pub(super) async fn correct_due_times(
    write: &mut PgConnection,
    schema: &Schema,
) -> sqlx::Result<Option<u64>> {
    let tolerance = millis(MAX_CLOCK_STEP);
    let exists = sqlx::query(schema.sql(concat!("select exists (", due_too_late!(), ")")));
    if !exists.bind(tolerance).fetch_one(&mut *write).await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let update = sqlx::query(schema.sql(concat!(
        "with late as materialized (
             select id from inbox.deliveries
             where id in (",
        due_too_late!(),
        ") and state <= 1 and due > (select inbox.inbox_now()) + delay + $1
             limit $2 for update skip locked)
         update inbox.deliveries delivery set due = (select inbox.inbox_now()) + delay
         from late where delivery.id = late.id",
    )));
    let update = update.bind(tolerance).bind(i64::from(MAX_CORRECTED));
    Ok(Some(update.execute(write).await?.rows_affected()))
}
