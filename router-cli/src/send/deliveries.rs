//! The order of deliveries, with duplicates and reordering.

use clap::Args;

/// Options that imitate duplicate and out-of-order delivery.
#[derive(Args)]
pub(crate) struct DeliveryOptions {
    /// Probability that an event is delivered twice, as Stripe may do.
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.0, value_parser = parse_probability)]
    duplicate: f64,

    /// Deliver the events in random order.
    #[arg(long)]
    reorder: bool,

    /// Seed of the ids, amounts, duplicates and order; random by default.
    #[arg(long)]
    seed: Option<u64>,
}

impl DeliveryOptions {
    /// Returns the given seed, or a random one.
    pub(crate) fn seed(&self) -> u64 {
        // Short enough to be typed.
        self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000))
    }
}

fn parse_probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(probability) if (0.0..=1.0).contains(&probability) => Ok(probability),
        _ => Err("expected a number from 0 to 1, as in 0.1".to_owned()),
    }
}

/// The indices of events, in the order of their deliveries.
pub(crate) struct Deliveries(pub(crate) Vec<usize>);

impl Deliveries {
    pub(crate) fn new(events: usize, options: &DeliveryOptions, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut deliveries = Vec::with_capacity(events);
        for event in 0..events {
            deliveries.push(event);
            if random.f64() < options.duplicate {
                deliveries.push(event);
            }
        }
        if options.reorder {
            random.shuffle(&mut deliveries);
        }
        Self(deliveries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliveries(events: usize, duplicate: f64, reorder: bool) -> Vec<usize> {
        let options = DeliveryOptions { duplicate, reorder, seed: None };
        Deliveries::new(events, &options, 1).0
    }

    #[test]
    fn default_is_each_event_once_in_order() {
        assert_eq!(deliveries(4, 0.0, false), [0, 1, 2, 3]);
    }

    #[test]
    fn duplicate_follows_its_event() {
        assert_eq!(deliveries(2, 1.0, false), [0, 0, 1, 1]);
        let some = deliveries(1000, 0.1, false);
        assert!((1050..1150).contains(&some.len()), "{}", some.len());
        assert!(some.is_sorted());
    }

    #[test]
    fn reorder_keeps_all_events_and_depends_on_seed() {
        let mut some = deliveries(100, 0.5, true);
        assert_eq!(some, deliveries(100, 0.5, true));
        assert!(!some.is_sorted());
        some.sort_unstable();
        assert_eq!(some, deliveries(100, 0.5, false));
    }

    #[test]
    fn probability_must_be_from_zero_to_one() {
        assert_eq!(parse_probability("0.25"), Ok(0.25));
        for text in ["1.1", "-0.1", "NaN", "often"] {
            assert!(parse_probability(text).is_err(), "{text}");
        }
    }
}
