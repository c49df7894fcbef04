//! SQL expressions for the history of a delivery.

/// Expands to the new value of the column `history`, with an entry for the latest attempt.
///
/// The parameters are SQL expressions: the name of the outcome, or null to add no entry, the error,
/// and the current time. No entry is added either if a version without histories claimed the
/// delivery. At most ten entries remain, see
/// [`MAX_HISTORY`](crate::operations::MAX_HISTORY). A damaged history is replaced, because the
/// outcome must be recorded.
macro_rules! with_attempt {
    ($outcome:literal, $error:literal, $now:literal) => {
        concat!(
            "case when ",
            $outcome,
            " is null or claimed_at is null then history else json_insert(
                 case when history is null or not json_valid(history) then '[]'
                     when json_array_length(history) >= 10 then json_remove(history, '$[0]')
                     else history end,
                 '$[#]',
                 json_object('number', attempts, 'started_at', claimed_at,
                     'duration', ",
            $now,
            " - claimed_at, 'outcome', ",
            $outcome,
            ", 'error', ",
            $error,
            ", 'worker', claimed_by)) end"
        )
    };
}
pub(super) use with_attempt;
