//! `doctor`: compares the events that a program handles with those that Stripe sends.

mod ping;

use clap::Args;
use router_core::Secrets;
use router_inbox::store::Operations;
use router_stripe::{
    Client,
    doctor::{Destination, Doctor, Environment, Finding, ProgramRoutes, Severity, compare},
};
use serde_json::json;

use self::ping::PingArgs;
use crate::{
    error::{Error, Exit},
    inbox::format::count,
    output::{DIM, FAILURE, Output, SUCCESS, WARNING, styled},
    stripe::{self, StripeOptions, one_line, read_file, read_routes},
};

/// The permission of the API key, for the error of a key that lacks it.
const PERMISSIONS: &str = "`doctor` needs the permission \"Webhook Endpoints, Event Destinations\" \
                           (webhook_read): Read, or Write for --fix --yes and for --ping";

/// Compare the events that a program handles with those that Stripe sends
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router doctor --routes routes.json --url https://shop.example/webhook
  event-router doctor --routes https://internal.example/routes --secret-env STRIPE_WEBHOOK_SECRET
  event-router doctor --routes routes.json --fix
  event-router doctor --routes routes.json --destinations destinations.json
  event-router doctor --routes routes.json --url https://shop.example/webhook \\
    --ping --inbox sqlite:inbox.db

The API key is read from STRIPE_API_KEY. A restricted key (rk_…) needs one permission, \"Webhook
Endpoints, Event Destinations\" (webhook_read): Read, or Write for --fix --yes and for --ping.

The routes are the JSON of `router.routes()`, as `serde_json::to_string` writes it.

The exit code is 1 if there is a finding of severity `error` or `warning`.

With --json, prints one object per finding: {\"code\", \"severity\", \"destinations\", \"event_types\",
\"message\", \"impact\", \"remedy\", \"fix\"}, after one {\"sent\"} per request that was sent. Each ping
event in the inbox is one {\"received\": {\"event\", \"destination\", \"url\"}}, in front of the findings
about the others.")]
pub(crate) struct DoctorArgs {
    /// File with the program's routes as JSON, or the URL of a server that returns them.
    #[arg(long, value_name = "FILE|URL")]
    routes: String,

    /// URL of the program's webhook endpoint at Stripe; by default all destinations of the account
    /// are examined. Repeatable.
    #[arg(long)]
    url: Vec<String>,

    /// Read the destinations from a file instead of Stripe: the JSON of `/v1/webhook_endpoints` and
    /// `/v2/core/event_destinations`, one after the other.
    #[arg(long, value_name = "FILE")]
    destinations: Option<String>,

    /// API version that the program's types are written for, as in `2026-10-28.endive`.
    #[arg(long, value_name = "VERSION")]
    expect_api_version: Option<String>,

    /// Environment variable with the server's signing secret, to check its form.
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,

    /// Print the requests that enable missing event types and disabled destinations.
    #[arg(long)]
    fix: bool,

    /// Send the requests of --fix, and compare again.
    #[arg(long, requires = "fix", conflicts_with = "destinations")]
    yes: bool,

    #[command(flatten)]
    ping: PingArgs,

    #[command(flatten)]
    stripe: StripeOptions,
}

impl DoctorArgs {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let inbox = self.ping.open_inbox().await?;
        let routes = read_routes(&self.routes).await?;
        let findings = match &self.destinations {
            Some(file) => {
                let destinations = Destination::parse_all(&read_file(file)?)
                    .map_err(|error| Error::Usage(format!("{file}: {}", one_line(&error))))?;
                let findings = compare(&routes, &destinations, &self.environment());
                self.print(&findings, output)?;
                findings
            }
            None => self.examine_account(routes, inbox.as_deref(), output).await?,
        };
        if !output.json {
            output.line(summary(&findings))?;
        }
        if self.fix && !self.yes && findings.iter().any(|finding| finding.fix.is_some()) {
            output.note("nothing was changed; pass --fix --yes to send the requests");
        }
        let has_fault = findings.iter().any(|finding| finding.severity != Severity::Info);
        Ok(if has_fault { Exit::Failure } else { Exit::Success })
    }

    /// Examines the account, fixes findings, and pings destinations, as far as the options say.
    /// Prints and returns the findings.
    async fn examine_account(
        &self,
        routes: ProgramRoutes,
        inbox: Option<&dyn Operations>,
        output: &mut Output,
    ) -> Result<Vec<Finding>, Error> {
        let client = self.stripe.client()?;
        let doctor = Doctor::new(&client).environment(self.environment());
        let mut findings = doctor.check(routes.clone()).await.map_err(explain)?;
        if self.yes && send_fixes(&findings, &client, output).await? {
            findings = doctor.check(routes).await.map_err(explain)?;
        }
        // Before the wait for the pings, and in case that the key may not ping.
        self.print(&findings, output)?;
        if let Some(inbox) = inbox {
            let missing = self.ping.run(&doctor, inbox, output).await?;
            self.print(&missing, output)?;
            findings.extend(missing);
        }
        Ok(findings)
    }

    fn environment(&self) -> Environment {
        let secret = self.secret_env.as_deref().map(Secrets::from_env);
        let mut environment = Environment::default();
        environment.urls.clone_from(&self.url);
        environment.expected_api_version.clone_from(&self.expect_api_version);
        environment.secret_error = secret.and_then(Result::err).map(|error| error.to_string());
        environment
    }

    fn print(&self, findings: &[Finding], output: &mut Output) -> Result<(), Error> {
        findings.iter().try_for_each(|finding| self.print_finding(finding, output))
    }

    fn print_finding(&self, finding: &Finding, output: &mut Output) -> Result<(), Error> {
        if output.json {
            return output.json(finding);
        }
        let (style, severity) = match finding.severity {
            Severity::Error => (FAILURE, "error"),
            Severity::Warning => (WARNING, "warning"),
            Severity::Info => (DIM, "info"),
        };
        let label = styled(style, format_args!("{severity} {}", finding.code));
        output.line(format_args!("{label}: {}", one_line(&finding.message)))?;
        output.line(format_args!("  impact  {}", finding.impact))?;
        output.line(format_args!("  remedy  {}", one_line(&finding.remedy)))?;
        if let Some(fix) = finding.fix.as_ref().filter(|_| self.fix) {
            output.line(format_args!("  fix     {}", one_line(&fix.to_string())))?;
        }
        output.line("")
    }
}

/// Sends the requests that fix findings. Returns whether there were any.
async fn send_fixes(
    findings: &[Finding],
    client: &Client,
    output: &mut Output,
) -> Result<bool, Error> {
    let mut is_sent = false;
    for fix in findings.iter().filter_map(|finding| finding.fix.as_ref()) {
        fix.send(client).await.map_err(explain)?;
        is_sent = true;
        if output.json {
            output.json(&json!({"sent": fix}))?;
        } else {
            let sent = styled(SUCCESS, "sent");
            output.line(format_args!("{sent}  {}", one_line(&fix.to_string())))?;
        }
    }
    if is_sent && !output.json {
        output.line("")?;
    }
    Ok(is_sent)
}

fn summary(findings: &[Finding]) -> String {
    let number = |severity| -> u64 {
        findings.iter().map(|finding| u64::from(finding.severity == severity)).sum()
    };
    match (number(Severity::Error), number(Severity::Warning), number(Severity::Info)) {
        (0, 0, 0) => styled(SUCCESS, "no findings"),
        (errors, warnings, info) => {
            format!("{}, {}, {info} info", count(errors, "error"), count(warnings, "warning"))
        }
    }
}

/// Converts the error of a request to Stripe.
fn explain(error: router_stripe::Error) -> Error {
    stripe::explain(&error, PERMISSIONS)
}
