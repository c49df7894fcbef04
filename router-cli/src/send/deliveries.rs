//! In which order which events are delivered, and which of them twice.

use clap::Args;

/// What networks do to the order of events.
#[derive(Args)]
pub(crate) struct Disorder {
    /// Send each event once more with this probability, as Stripe may.
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.0, value_parser = probability)]
    duplicate: f64,

    /// Send them in any order.
    #[arg(long)]
    reorder: bool,

    /// From what ids, amounts and disorder are made; the events of one seed agree. Drawn anew by default.
    #[arg(long)]
    seed: Option<u64>,
}

impl Disorder {
    /// The seed that was given, or one that nobody else has drawn.
    pub(crate) fn seed(&self) -> u64 {
        // Short enough to be typed in again.
        self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000))
    }
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(probability) if (0.0..=1.0).contains(&probability) => Ok(probability),
        _ => Err("write a number from 0 to 1, as in 0.1".to_owned()),
    }
}

/// The events, by their numbers, in the order in which they are delivered.
pub(crate) struct Deliveries(pub(crate) Vec<usize>);

impl Deliveries {
    pub(crate) fn new(events: usize, disorder: &Disorder, seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut deliveries = Vec::with_capacity(events);
        for event in 0..events {
            deliveries.push(event);
            if dice.f64() < disorder.duplicate {
                deliveries.push(event);
            }
        }
        if disorder.reorder {
            dice.shuffle(&mut deliveries);
        }
        Self(deliveries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliveries(events: usize, duplicate: f64, reorder: bool) -> Vec<usize> {
        let disorder = Disorder { duplicate, reorder, seed: None };
        Deliveries::new(events, &disorder, 1).0
    }

    #[test]
    fn without_disorder_each_is_delivered_once_in_order() {
        assert_eq!(deliveries(4, 0.0, false), [0, 1, 2, 3]);
    }

    #[test]
    fn a_duplicate_follows_its_event() {
        assert_eq!(deliveries(2, 1.0, false), [0, 0, 1, 1]);
        let some = deliveries(1000, 0.1, false);
        assert!((1050..1150).contains(&some.len()), "{}", some.len());
        assert!(some.is_sorted());
    }

    #[test]
    fn reordered_is_all_of_them_in_another_order_and_the_same_for_the_same_seed() {
        let mut some = deliveries(100, 0.5, true);
        assert_eq!(some, deliveries(100, 0.5, true));
        assert!(!some.is_sorted());
        some.sort_unstable();
        assert_eq!(some, deliveries(100, 0.5, false));
    }

    #[test]
    fn a_probability_is_from_zero_to_one() {
        assert_eq!(probability("0.25"), Ok(0.25));
        for text in ["1.1", "-0.1", "NaN", "often"] {
            assert!(probability(text).is_err(), "{text}");
        }
    }
}
