//! SQL expressions for the history of a delivery.

/// The column `history` of an updated `delivery`, with an entry for the latest attempt.
///
/// The parameters of this macro are SQL expressions: the name of the outcome, or null to add no
/// entry, and the error. There is no entry either if the attempt was claimed by a version without
/// histories. At most ten entries remain, see [`MAX_HISTORY`](crate::operations::MAX_HISTORY).
macro_rules! with_attempt {
    ($outcome:literal, $error:literal) => {
        concat!(
            "case when ",
            $outcome,
            " is null or delivery.claimed_at is null then delivery.history else
                 case when jsonb_array_length(delivery.history) >= 10 then delivery.history - 0
                     else coalesce(delivery.history, '[]') end
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
