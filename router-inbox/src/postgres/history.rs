//! SQL expressions for the history of a delivery.

/// Expands to the new value of the column `history`, with an entry for the latest attempt.
///
/// The parameters are SQL expressions: the name of the outcome, or null to add no entry, and the
/// error. No entry is added either if a version without histories claimed the delivery. The updated
/// table must have the alias `delivery`. At most ten entries remain, see
/// [`MAX_HISTORY`](crate::operations::MAX_HISTORY). A damaged history is replaced, because the
/// outcome must be recorded.
macro_rules! with_attempt {
    ($outcome:literal, $error:literal) => {
        concat!(
            "case when ",
            $outcome,
            " is null or delivery.claimed_at is null then delivery.history else
                 case when jsonb_typeof(delivery.history) is distinct from 'array' then '[]'
                     when jsonb_array_length(delivery.history) >= 10 then delivery.history - 0
                     else delivery.history end
                 || jsonb_build_array(jsonb_build_object(
                     'number', delivery.attempts, 'started_at', delivery.claimed_at,
                     'duration', (select inbox.inbox_now()) - delivery.claimed_at,
                     'outcome', ",
            $outcome,
            ", 'error', ",
            $error,
            ", 'worker', delivery.claimed_by)) end"
        )
    };
}
pub(super) use with_attempt;
