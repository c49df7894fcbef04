//! Prints a sample event of each type as JSON, one event per line.
//!
//! ```text
//! cargo run -p router-catalog --features samples --example samples -- \
//!     [--seed N] [--now SECONDS] [TYPE…]
//! ```

use std::{env, error::Error, io::Write as _};

use router_catalog::samples::Sampler;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut seed, mut now) = (0, 1_790_000_000);
    let mut types = Vec::new();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            arguments
                .next()
                .ok_or("missing number after the option")?
                .parse::<u64>()
                .map_err(Box::<dyn Error>::from)
        };
        match argument.as_str() {
            "--seed" => seed = number()?,
            "--now" => now = number()?,
            _ => types.push(argument),
        }
    }
    if types.is_empty() {
        types = router_catalog::all().iter().map(|known| known.name.to_owned()).collect();
    }
    let sampler = Sampler::new(seed, now);
    let mut out = std::io::stdout().lock();
    for event_type in types {
        let event =
            sampler.event(&event_type).ok_or_else(|| format!("unknown event type {event_type}"))?;
        writeln!(out, "{}", event.into_json())?;
    }
    Ok(())
}
