//! Reports deliveries: each one of a short run; failures and a summary of a long one.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use reqwest::Url;
use serde::Serialize;
use serde_json::{Value, json};

use super::sender::{Answer, DeliveryResult};
use crate::{
    error::{Error, Exit},
    output::{DIM, FAILURE, Output, SUCCESS, WARNING, sanitize, styled},
    progress::bar,
};

/// The number of deliveries up to which a run prints each of them.
const MAX_PRINTED_DELIVERIES: usize = 20;
/// The number of failures that a longer run prints.
const MAX_PRINTED_FAILURES: usize = 5;

/// Collects and prints the results of deliveries.
pub(crate) struct Reporter {
    total: usize,
    url: Url,
    secret_is_given: bool,
    bar: ProgressBar,
    printed: usize,
    delivered: usize,
    /// The number of deliveries of thin events that name their snapshot event.
    twins: usize,
    /// `true` if an answer says that the signature is invalid.
    signature_rejected: bool,
    /// The number of answers by status and outcome.
    answers: BTreeMap<(u16, String), u64>,
    /// The number of deliveries without an answer, by reason.
    unanswered: BTreeMap<String, u64>,
    /// The latencies of answered deliveries, in microseconds.
    latency: Histogram<u64>,
}

/// A delivery in the JSON output.
#[derive(Serialize)]
struct Line<'d> {
    r#type: &'d str,
    event: &'d str,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_event: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(flatten)]
    result: LineResult<'d>,
    ms: f64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum LineResult<'d> {
    Answer { status: u16, retry_after: Option<&'d str>, answer: Value },
    NoAnswer { error: &'d str },
}

impl Reporter {
    pub(crate) fn new(total: usize, url: Url, secret_is_given: bool, output: &Output) -> Self {
        let bar =
            if total > MAX_PRINTED_DELIVERIES { bar(total, output) } else { ProgressBar::hidden() };
        Self {
            total,
            url,
            secret_is_given,
            bar,
            printed: 0,
            delivered: 0,
            twins: 0,
            signature_rejected: false,
            answers: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds are valid"),
        }
    }

    /// Records a result, and prints it if it is to be printed.
    pub(crate) fn delivered(
        &mut self,
        result: DeliveryResult,
        output: &mut Output,
    ) -> Result<(), Error> {
        self.bar.inc(1);
        self.delivered += 1;
        self.twins += usize::from(result.event.payload.event().snapshot_event().is_some());
        let is_failure = match &result.answer {
            Ok(answer) => {
                let micros = u64::try_from(result.elapsed.as_micros()).unwrap_or(u64::MAX);
                self.latency.saturating_record(micros);
                self.signature_rejected |= answer.rejects_signature();
                let answer = (answer.status, answer.outcome());
                let is_failure = is_failure(&answer);
                *self.answers.entry(answer).or_default() += 1;
                is_failure
            }
            Err(why) => {
                *self.unanswered.entry(why.clone()).or_default() += 1;
                true
            }
        };
        if output.json {
            return output.json(&line(&result));
        }
        if self.total <= MAX_PRINTED_DELIVERIES || is_failure && self.printed < MAX_PRINTED_FAILURES
        {
            self.printed += 1;
            return self.bar.suspend(|| print_delivery(&result, output));
        }
        Ok(())
    }

    /// Prints the summary, and returns the exit code.
    pub(crate) fn finish(self, elapsed: Duration, output: &mut Output) -> Result<Exit, Error> {
        self.bar.finish_and_clear();
        if self.total > 1 {
            match output.json {
                true => output.json(&json!({"summary": self.summary(elapsed)}))?,
                false => self.print_summary(elapsed, output)?,
            }
        }
        if self.signature_rejected {
            output.note(signature_help(&self.url, self.secret_is_given));
        }
        Ok(if self.delivered < self.total {
            Exit::Interrupted
        } else if !self.unanswered.is_empty() {
            Exit::NoAnswer
        } else if self.answers.keys().any(is_failure) {
            Exit::Failure
        } else {
            Exit::Success
        })
    }

    fn summary(&self, elapsed: Duration) -> Value {
        let answers = self.answers.iter().map(|((status, outcome), count)| {
            json!({"status": status, "outcome": outcome, "count": count})
        });
        let unanswered =
            self.unanswered.iter().map(|(error, count)| json!({"error": error, "count": count}));
        let ms = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1000.0;
        json!({
            "sent": self.delivered,
            "twins": self.twins,
            "seconds": elapsed.as_secs_f64(),
            "answers": answers.collect::<Vec<_>>(),
            "unanswered": unanswered.collect::<Vec<_>>(),
            "latency_ms": {"p50": ms(0.5), "p90": ms(0.9), "p99": ms(0.99), "max": ms(1.0)},
        })
    }

    fn print_summary(&self, elapsed: Duration, output: &mut Output) -> Result<(), Error> {
        let seconds = elapsed.as_secs_f64();
        let rate = self.delivered as f64 / seconds.max(1e-6);
        if self.printed > 0 {
            output.line("")?;
        }
        let of_total = match self.delivered < self.total {
            true => format!(" of {}", self.total),
            false => String::new(),
        };
        let twins = match self.twins {
            0 => String::new(),
            1 => " (1 thin twin)".to_owned(),
            number => format!(" ({number} thin twins)"),
        };
        output.line(format_args!(
            "{}{of_total} deliveries{twins} in {seconds:.2} s ({rate:.0}/s)",
            self.delivered
        ))?;
        for ((code, outcome), count) in &self.answers {
            output.line(format_args!("{count:>8}  {} {outcome}", status(*code)))?;
        }
        for (why, count) in &self.unanswered {
            output.line(format_args!("{count:>8}  {} {why}", styled(FAILURE, "---")))?;
        }
        if !self.latency.is_empty() {
            let latency =
                |quantile| millis(Duration::from_micros(self.latency.value_at_quantile(quantile)));
            let (p50, p90, p99, max) = (latency(0.5), latency(0.9), latency(0.99), latency(1.0));
            output.line(format_args!("latency: p50 {p50}, p90 {p90}, p99 {p99}, max {max}"))?;
        }
        Ok(())
    }
}

/// Describes the secret that the server at this URL did not accept, and the remedy.
pub(crate) fn signature_help(url: &Url, secret_is_given: bool) -> String {
    let secret = match secret_is_given {
        true => "the secret from --secret or STRIPE_WEBHOOK_SECRET",
        false => "your development secret, because STRIPE_WEBHOOK_SECRET is not set",
    };
    format!(
        "{WARNING}help:{WARNING:#} the events are signed with {secret}, but {url} expects another one; \
         set STRIPE_WEBHOOK_SECRET to the server's signing secret"
    )
}

/// Returns whether an answer is not 2xx, or reports a dead letter.
fn is_failure((status, outcome): &(u16, String)) -> bool {
    !(200..300).contains(status) || outcome == "dead"
}

fn line(result: &DeliveryResult) -> Line<'_> {
    let line_result = match &result.answer {
        Ok(answer) => LineResult::Answer {
            status: answer.status,
            retry_after: answer.retry_after.as_deref(),
            answer: answer.json(),
        },
        Err(error) => LineResult::NoAnswer { error },
    };
    let payload = &result.event.payload;
    Line {
        r#type: payload.event_type(),
        event: payload.id(),
        snapshot_event: payload.event().snapshot_event(),
        seed: result.event.seed,
        result: line_result,
        ms: result.elapsed.as_micros() as f64 / 1000.0,
    }
}

fn print_delivery(result: &DeliveryResult, output: &mut Output) -> Result<(), Error> {
    let payload = &result.event.payload;
    let seed = result.event.seed.map(|seed| format!("  seed {seed}")).unwrap_or_default();
    let twin = payload.event().snapshot_event().map(|id| format!("  twin of {id}"));
    let twin = twin.unwrap_or_default();
    let id = styled(DIM, format_args!("{}{twin}{seed}", payload.id()));
    output.line(format_args!("{}  {id}", payload.event_type()))?;
    let answer = match &result.answer {
        Ok(answer) => answer,
        Err(why) => return output.line(format_args!("  {}", styled(FAILURE, why))),
    };
    let retry_after =
        answer.retry_after.as_ref().map(|seconds| format!(", retry after {seconds} s"));
    let elapsed = millis(result.elapsed);
    output.line(format_args!(
        "  {} in {elapsed}{}",
        status(answer.status),
        retry_after.unwrap_or_default()
    ))?;
    let body = answer.json();
    let Some(handlers) = body.get("handlers").and_then(Value::as_array) else {
        // The answer of another framework's server, or a handler's reply.
        let text: String = answer.body.chars().take(2000).collect();
        return match text.trim() {
            "" => Ok(()),
            text => output.line(format_args!("  {}", sanitize(text))),
        };
    };
    if handlers.is_empty() {
        return output.line(format_args!("  {}", styled(WARNING, "no handler matches this event")));
    }
    for handler in handlers {
        let [name, outcome] =
            ["name", "outcome"].map(|field| sanitize(handler[field].as_str().unwrap_or("?")));
        let style = match &*outcome {
            "done" | "stored" | "restarted" => SUCCESS,
            "ignored" | "duplicate" => DIM,
            "retry" => WARNING,
            _ => FAILURE,
        };
        output.line(format_args!("  {} {name}", styled(style, format_args!("{outcome:9}"))))?;
    }
    Ok(())
}

/// Formats an answer in a line, as in `200 OK stored`.
pub(crate) fn format_answer(answer: &Answer) -> String {
    format!("{} {}", status(answer.status), answer.outcome()).trim_end().to_owned()
}

fn status(code: u16) -> String {
    let style = match code {
        200..300 => SUCCESS,
        500.. => WARNING,
        _ => FAILURE,
    };
    let reason = reqwest::StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
    styled(style, format_args!("{code} {}", reason.unwrap_or_default()).to_string().trim_end())
}

fn millis(duration: Duration) -> String {
    match duration.as_secs_f64() * 1000.0 {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}
