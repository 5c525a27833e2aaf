//! Numbers as people read them.

/// `138,357,544`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Rounded to so many digits, with a letter for the power: `3.2M`. Below 1,000 nothing is rounded.
pub(crate) fn rounded(n: u64, digits: u32) -> String {
    if n < 1000 {
        return n.to_string();
    }
    let unit = 10u64.pow((n.ilog10() + 1).saturating_sub(digits));
    let n = n.saturating_add(unit / 2) / unit * unit;
    let power = n.ilog10() / 3;
    let scale = 1000u64.pow(power);
    let decimals = digits.saturating_sub((n / scale).ilog10() + 1) as usize;
    let letter = ["", "K", "M", "G", "T", "P", "E"][power as usize];
    format!("{:.decimals$}{letter}", n as f64 / scale as f64)
}

/// In powers of ten and of two: `60.95 MB (58.1 MiB)`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [(&str, i32); 4] = [("k", 1), ("M", 2), ("G", 3), ("T", 4)];
    let fits = |(_, power): &&(&str, i32)| n as f64 >= 1000f64.powi(*power);
    let (letter, power) = *UNITS.iter().rfind(fits).unwrap_or(&UNITS[0]);
    let (ten, two) = (n as f64 / 1000f64.powi(power), n as f64 / 1024f64.powi(power));
    format!("{ten:.2} {letter}B ({two:.1} {}iB)", letter.to_uppercase())
}

/// The head of a column of figures for so many samples: `Memory ×8`.
pub(crate) fn head(batch: usize, name: &str) -> String {
    if batch == 1 { String::from(name) } else { format!("{name} ×{batch}") }
}

/// A figure for one sample, for so many.
pub(crate) fn times(batch: usize, n: u64) -> u64 {
    n.saturating_mul(batch as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (138_357_544, "138,357,544")];
        for (n, expected) in cases {
            assert_eq!(thousands(n), expected);
        }
    }

    #[test]
    fn rounding_is_that_of_the_listing() {
        let cases = [
            (512, 2, "512"),
            (4_704, 2, "4.7K"),
            (25_088, 2, "25K"),
            (150_528, 2, "150K"),
            (802_816, 2, "800K"),
            (3_211_264, 2, "3.2M"),
            (86_704_128, 3, "86.7M"),
            (999_600, 3, "1.00M"),
            (1_849_688_064, 3, "1.85G"),
            (u64::MAX, 3, "18.4E"),
        ];
        for (n, digits, expected) in cases {
            assert_eq!(rounded(n, digits), expected);
        }
    }

    #[test]
    fn bytes_are_given_both_ways() {
        assert_eq!(bytes(4 * 15_237_608), "60.95 MB (58.1 MiB)");
        assert_eq!(bytes(36_472), "36.47 kB (35.6 KiB)");
        assert_eq!(bytes(12), "0.01 kB (0.0 KiB)");
    }
}
