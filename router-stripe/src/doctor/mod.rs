//! Compares the events that a program handles with those that Stripe sends.
//!
//! ```no_run
//! use router_core::Router;
//! use router_stripe::{ApiKey, Client, doctor::Doctor};
//!
//! # async fn example(router: Router) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder(ApiKey::from_env("STRIPE_API_KEY")?).build()?;
//! let doctor = Doctor::new(&client).url("https://shop.example/webhook");
//! for finding in doctor.check(router.routes()).await? {
//!     println!("{}: {} {}", finding.code, finding.message, finding.remedy);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A restricted key needs the permission "Webhook Endpoints, Event Destinations": read, or write to
//! [fix](Fix::send) a finding and to [ping](Doctor::ping) a destination. [`compare`] needs no key:
//! it compares without requests.

mod compare;
mod destination;
mod finding;
mod ping;
mod routes;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use router_catalog::API_VERSION;
use serde_json::Value;

pub(crate) use self::destination::{V1, V2};
pub use self::{
    compare::{Environment, compare},
    destination::Destination,
    finding::{Code, Finding, Fix, Severity},
    ping::{Ping, Unpinged},
    routes::ProgramRoutes,
};
use crate::{Client, Error, ErrorKind, Request};

/// Compares the routes of a program with the destinations of an account.
#[derive(Debug, Clone)]
pub struct Doctor<'c> {
    client: &'c Client,
    environment: Environment,
}

impl<'c> Doctor<'c> {
    /// Creates a doctor for the account of the client's key.
    #[must_use]
    pub fn new(client: &'c Client) -> Self {
        Self { client, environment: Environment::default() }
    }

    /// Sets the environment of the program, and replaces the URLs added so far. The clock skew is
    /// replaced by the measured one.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Adds a URL of the program. Destinations without one of these URLs are ignored.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.environment.urls.push(url.into());
        self
    }

    /// Reads the destinations of the account, and compares them with the routes. Returns the
    /// findings, the most severe first. Cancel safe.
    ///
    /// # Errors
    ///
    /// Fails if a request fails, or if a response is not a list of destinations.
    pub async fn check(&self, routes: impl Into<ProgramRoutes>) -> Result<Vec<Finding>, Error> {
        let (destinations, clock_skew) = self.destinations().await?;
        let environment = Environment { clock_skew, ..self.environment.clone() };
        Ok(compare(&routes.into(), &destinations, &environment))
    }

    /// Asks Stripe to send a ping event to each destination that is enabled and has a URL; if the
    /// program's URLs are set, only to those with one of them. Returns all these destinations with
    /// the ids of the events. The caller checks that the program receives them.
    ///
    /// The events are thin events of the type `v2.core.event_destination.ping`. Stripe documents no
    /// other form for a destination of snapshot events.
    ///
    /// # Errors
    ///
    /// Fails if a request fails, or if a response is not a list of destinations or an event. Other
    /// destinations may have been pinged then.
    pub async fn ping(&self) -> Result<Vec<Ping>, Error> {
        let (destinations, _) = self.destinations().await?;
        let mut pings = Vec::new();
        for destination in destinations {
            if self.environment.is_ours(&destination) {
                pings.push(destination.ping(self.client).await?);
            }
        }
        Ok(pings)
    }

    /// Reads the destinations of the account. Returns them with the clock skew, if Stripe sent a
    /// date.
    async fn destinations(&self) -> Result<(Vec<Destination>, Option<i64>), Error> {
        let mut objects = Vec::new();
        let v1 = self.client.get(V1);
        let clock_skew = self.read(v1, &mut objects).await?;
        // Stripe omits the URL by default:
        // <https://docs.stripe.com/api/v2/core/event-destinations/list>
        let v2 = self.client.get(V2).query("include", "webhook_endpoint.url");
        self.read(v2, &mut objects).await?;
        let destinations = Destination::merge(objects)
            .map_err(|message| Error::new(ErrorKind::Unreadable, &format!("GET {V2}"), message))?;
        Ok((destinations, clock_skew))
    }

    /// Reads all pages of a list. Returns the clock skew, measured with the first page.
    async fn read(&self, list: Request, into: &mut Vec<Value>) -> Result<Option<i64>, Error> {
        let name = list.name();
        let mut pages = list.api_version(API_VERSION).pages();
        let mut skew = None;
        loop {
            let before = self.client.clock().wall();
            let Some(page) = pages.next().await? else { return Ok(skew) };
            let after = self.client.clock().wall();
            skew = skew.or_else(|| pages.date().map(|date| clock_skew(before, date, after)));
            for item in page {
                // A raw value may be nested too deeply, or have a number that is too large.
                into.push(serde_json::from_str(item.get()).map_err(|_| {
                    let message = "an item of the list is not the expected JSON";
                    Error::new(ErrorKind::Unreadable, &name, message)
                })?);
            }
        }
    }
}

/// Returns the seconds by which this machine's clock is at least ahead of Stripe's; negative if it
/// is behind. Stripe sent the response between the two times, with a date truncated to the second.
fn clock_skew(before: SystemTime, date: SystemTime, after: SystemTime) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let latest = date + Duration::from_secs(1);
    match (before.duration_since(latest), date.duration_since(after)) {
        (Ok(ahead), _) => seconds(ahead),
        (_, Ok(behind)) => -seconds(behind),
        _ => 0,
    }
}
