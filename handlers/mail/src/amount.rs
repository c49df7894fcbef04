//! Amounts of money.

use std::fmt;

/// An amount of money, as Stripe's objects have it. `Display` writes it with the currency's code
/// and decimals: `USD 20.00`, `JPY 2000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount<'c> {
    /// The number of the currency's smallest units: cents for `usd`, yen for `jpy`.
    pub units: i64,
    /// The three-letter ISO code in lower or upper case.
    pub currency: &'c str,
}

/// Currencies whose amounts have no decimals, or three, in [Stripe's API][1]. `isk` and `ugx` have
/// no decimals, but their amounts have two, which are always 00 (special cases on the same page).
///
/// [1]: https://docs.stripe.com/currencies#minor-units
const DECIMALS: [(usize, &[&str]); 2] = [
    (
        0,
        &[
            "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV",
            "XAF", "XOF", "XPF",
        ],
    ),
    (3, &["BHD", "JOD", "KWD", "OMR", "TND"]),
];

impl fmt::Display for Amount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let currency = self.currency.to_ascii_uppercase();
        let listed = DECIMALS.iter().find(|(_, currencies)| currencies.contains(&&*currency));
        let decimals = listed.map_or(2, |(decimals, _)| *decimals);
        let sign = if self.units < 0 { "-" } else { "" };
        let digits = format!("{:0width$}", self.units.unsigned_abs(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let point = if decimals == 0 { "" } else { "." };
        write!(f, "{currency} {sign}{whole}{point}{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_decimals_of_their_currency() {
        for (units, currency, text) in [
            (2000, "usd", "USD 20.00"),
            (5, "usd", "USD 0.05"),
            (0, "eur", "EUR 0.00"),
            (-1999, "eur", "EUR -19.99"),
            (2000, "jpy", "JPY 2000"),
            (0, "krw", "KRW 0"),
            (5120, "kwd", "KWD 5.120"),
            (500, "isk", "ISK 5.00"),
            (500, "ugx", "UGX 5.00"),
            (i64::MIN, "usd", "USD -92233720368547758.08"),
        ] {
            assert_eq!(Amount { units, currency }.to_string(), text);
        }
    }
}
