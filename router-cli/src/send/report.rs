//! What a person, or a program, is told of deliveries: each of a few, a bar and a summary of many.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use reqwest::Url;
use serde::Serialize;
use serde_json::{Value, json};

use super::run::Delivered;
use crate::{
    error::{Error, Exit},
    output::{BAD, DIM, DOUBTFUL, GOOD, Output, plain, styled},
    progress::bar,
};

/// So many are told one by one; of more, the first few that went wrong.
const FEW: usize = 20;
const WRONG: usize = 5;

/// Collects what became of deliveries.
pub(crate) struct Reporter {
    total: usize,
    url: Url,
    secret_was_given: bool,
    bar: ProgressBar,
    told: usize,
    delivered: usize,
    /// Whether a server said that the signature is wrong.
    is_mismatch: bool,
    /// How many answers had this status, and what became of the event.
    answers: BTreeMap<(u16, String), u64>,
    unanswered: BTreeMap<String, u64>,
    /// In microseconds, of those that were answered.
    latency: Histogram<u64>,
}

/// A delivery, for programs.
#[derive(Serialize)]
struct Line<'d> {
    r#type: &'d str,
    event: &'d str,
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
    pub(crate) fn new(total: usize, url: Url, secret_was_given: bool, output: &Output) -> Self {
        let bar = if total > FEW { bar(total, output) } else { ProgressBar::hidden() };
        Self {
            total,
            url,
            secret_was_given,
            bar,
            told: 0,
            delivered: 0,
            is_mismatch: false,
            answers: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("they are bounds"),
        }
    }

    pub(crate) fn delivered(
        &mut self,
        delivered: Delivered,
        output: &mut Output,
    ) -> Result<(), Error> {
        self.bar.inc(1);
        self.delivered += 1;
        let went_wrong = match &delivered.result {
            Ok(answer) => {
                let micros = u64::try_from(delivered.took.as_micros()).unwrap_or(u64::MAX);
                self.latency.saturating_record(micros);
                // In whatever words: it may be another server than ours.
                self.is_mismatch |=
                    answer.status == 400 && answer.body.to_lowercase().contains("signature");
                let answer = (answer.status, outcome(&json_or_text(&answer.body)));
                let is_refused = is_refused(&answer);
                *self.answers.entry(answer).or_default() += 1;
                is_refused
            }
            Err(why) => {
                *self.unanswered.entry(why.clone()).or_default() += 1;
                true
            }
        };
        if output.json {
            return output.json(&line(&delivered));
        }
        if self.total <= FEW || went_wrong && self.told < WRONG {
            self.told += 1;
            return self.bar.suspend(|| tell(&delivered, output));
        }
        Ok(())
    }

    /// What there is to say when all have been sent.
    pub(crate) fn end(self, took: Duration, output: &mut Output) -> Result<Exit, Error> {
        self.bar.finish_and_clear();
        if self.total > 1 {
            match output.json {
                true => output.json(&json!({"summary": self.summary(took)}))?,
                false => self.tell_summary(took, output)?,
            }
        }
        if self.is_mismatch {
            output.note(self.mismatch());
        }
        Ok(if self.delivered < self.total {
            Exit::Stopped
        } else if !self.unanswered.is_empty() {
            Exit::NoAnswer
        } else if self.answers.keys().any(is_refused) {
            Exit::Refused
        } else {
            Exit::Done
        })
    }

    fn mismatch(&self) -> String {
        let used = match self.secret_was_given {
            true => "the secret from --secret or STRIPE_WEBHOOK_SECRET",
            false => "your development secret, because no STRIPE_WEBHOOK_SECRET is set",
        };
        format!(
            "{DOUBTFUL}help:{DOUBTFUL:#} what was sent is signed with {used}, and {} expects another one: \
             set STRIPE_WEBHOOK_SECRET to the server's",
            self.url
        )
    }

    fn summary(&self, took: Duration) -> Value {
        let answers = self.answers.iter().map(|((status, outcome), count)| {
            json!({"status": status, "outcome": outcome, "count": count})
        });
        let unanswered =
            self.unanswered.iter().map(|(error, count)| json!({"error": error, "count": count}));
        let ms = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1000.0;
        json!({
            "sent": self.delivered,
            "seconds": took.as_secs_f64(),
            "answers": answers.collect::<Vec<_>>(),
            "unanswered": unanswered.collect::<Vec<_>>(),
            "latency_ms": {"p50": ms(0.5), "p90": ms(0.9), "p99": ms(0.99), "max": ms(1.0)},
        })
    }

    fn tell_summary(&self, took: Duration, output: &mut Output) -> Result<(), Error> {
        let seconds = took.as_secs_f64();
        let rate = self.delivered as f64 / seconds.max(1e-6);
        if self.told > 0 {
            output.line("")?;
        }
        let of_all = match self.delivered < self.total {
            true => format!(" of {}", self.total),
            false => String::new(),
        };
        output.line(format_args!(
            "{}{of_all} deliveries in {seconds:.2} s, {rate:.0} a second",
            self.delivered
        ))?;
        for ((code, outcome), count) in &self.answers {
            output.line(format_args!("{count:>8}  {} {outcome}", status(*code)))?;
        }
        for (why, count) in &self.unanswered {
            output.line(format_args!("{count:>8}  {} {why}", styled(BAD, "---")))?;
        }
        if !self.latency.is_empty() {
            let at =
                |quantile| millis(Duration::from_micros(self.latency.value_at_quantile(quantile)));
            let (p50, p90, p99, max) = (at(0.5), at(0.9), at(0.99), at(1.0));
            output.line(format_args!(
                "answered in {p50} (half of them), {p90} (90 %), {p99} (99 %), {max} at most"
            ))?;
        }
        Ok(())
    }
}

/// Whether it was not done, or never will be.
fn is_refused((status, outcome): &(u16, String)) -> bool {
    !(200..300).contains(status) || outcome == "dead"
}

fn line(delivered: &Delivered) -> Line<'_> {
    let result = match &delivered.result {
        Ok(answer) => LineResult::Answer {
            status: answer.status,
            retry_after: answer.retry_after.as_deref(),
            answer: json_or_text(&answer.body),
        },
        Err(error) => LineResult::NoAnswer { error },
    };
    let payload = &delivered.made.payload;
    Line {
        r#type: payload.event_type(),
        event: payload.id(),
        seed: delivered.made.seed,
        result,
        ms: delivered.took.as_micros() as f64 / 1000.0,
    }
}

fn tell(delivered: &Delivered, output: &mut Output) -> Result<(), Error> {
    let payload = &delivered.made.payload;
    let seed = delivered.made.seed.map(|seed| format!("  seed {seed}")).unwrap_or_default();
    let id = styled(DIM, format_args!("{}{seed}", payload.id()));
    output.line(format_args!("{}  {id}", payload.event_type()))?;
    let answer = match &delivered.result {
        Ok(answer) => answer,
        Err(why) => return output.line(format_args!("  {}", styled(BAD, why))),
    };
    let wait = answer.retry_after.as_ref().map(|wait| format!(", retry after {wait} s"));
    let took = millis(delivered.took);
    output.line(format_args!(
        "  {} in {took}{}",
        status(answer.status),
        wait.unwrap_or_default()
    ))?;
    let body = json_or_text(&answer.body);
    let Some(handlers) = body.get("handlers").and_then(Value::as_array) else {
        // Another server's, or what a handler replied.
        let text: String = answer.body.chars().take(2000).collect();
        return match text.trim() {
            "" => Ok(()),
            text => output.line(format_args!("  {}", plain(text))),
        };
    };
    if handlers.is_empty() {
        return output.line(format_args!("  {}", styled(DOUBTFUL, "no handler is for it")));
    }
    for handler in handlers {
        let [name, outcome] =
            ["name", "outcome"].map(|of| plain(handler[of].as_str().unwrap_or("?")));
        let style = match &*outcome {
            "done" | "stored" => GOOD,
            "ignored" | "duplicate" => DIM,
            "retry" => DOUBTFUL,
            _ => BAD,
        };
        output.line(format_args!("  {} {name}", styled(style, format_args!("{outcome:7}"))))?;
    }
    Ok(())
}

/// What the server says became of it: `done`, `signature verification failed`.
fn outcome(body: &Value) -> String {
    let said = body.get("outcome").or_else(|| body.get("error")).and_then(Value::as_str);
    plain(said.unwrap_or_default())
}

fn json_or_text(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| body.into())
}

fn status(code: u16) -> String {
    let style = match code {
        200..300 => GOOD,
        500.. => DOUBTFUL,
        _ => BAD,
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
