//! The settings of a handler, from the keys of its attribute.

use std::time::Duration;

use super::HandlerResult;
use crate::delivery::DeliveryOrder;

/// The settings of a handler: the keys of `#[on_event]`, which docs/on_event.md describes.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "only used by the macro and by `build`")]
pub struct HandlerSettings {
    pub name: Option<&'static str>,
    pub formerly: Option<&'static str>,
    pub endpoint: Option<&'static str>,
    pub livemode: Option<bool>,
    pub order: i32,
    /// The key `timeout`, or `deadline` for a handler that replies.
    pub timeout: Option<Duration>,
    pub default_reply: Option<fn() -> HandlerResult>,
    pub exclusive: bool,
    pub ordered: Option<DeliveryOrder>,
    pub retry: RetryOverrides,
    pub concurrency: Option<u32>,
    pub answer_after: Option<Duration>,
    pub blocking: bool,
    pub observer: bool,
}

/// The parts of the [`RetryPolicy`](crate::delivery::RetryPolicy) that a handler overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "only used by the macro and by `build`")]
pub struct RetryOverrides {
    pub max_attempts: Option<u32>,
    pub backoff: Option<Duration>,
    pub max_backoff: Option<Duration>,
    pub max_delay: Option<Duration>,
}

impl HandlerSettings {
    /// The settings of a handler without keys.
    pub const DEFAULT: Self = Self {
        name: None,
        formerly: None,
        endpoint: None,
        livemode: None,
        order: 0,
        timeout: None,
        default_reply: None,
        exclusive: false,
        ordered: None,
        retry: RetryOverrides::DEFAULT,
        concurrency: None,
        answer_after: None,
        blocking: false,
        observer: false,
    };

    /// Returns the keys that are set and have no effect without a delivery service. `ordered` is
    /// not one of them: without a service it has the effect of `exclusive`.
    pub(crate) fn delivery_keys(&self) -> Vec<&'static str> {
        let keys = [
            ("retry", self.retry != RetryOverrides::DEFAULT),
            ("concurrency", self.concurrency.is_some()),
            ("answer_after", self.answer_after.is_some()),
        ];
        keys.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect()
    }
}

impl RetryOverrides {
    /// No overrides.
    pub const DEFAULT: Self =
        Self { max_attempts: None, backoff: None, max_backoff: None, max_delay: None };
}
