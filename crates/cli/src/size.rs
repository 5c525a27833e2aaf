//! Sizes of memory, as people write them.

/// Units, the longer names first.
const UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

/// `500MB`, `1.5GiB`, or a number of bytes.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let unit = UNITS.iter().find_map(|(name, unit)| Some((lower.strip_suffix(name)?, *unit)));
    let (number, unit) = unit.unwrap_or((&lower, 1));
    let bytes = number.trim_end().parse::<f64>().ok().map(|number| number * unit as f64);
    let known = bytes.filter(|bytes| (1.0..u64::MAX as f64).contains(bytes));
    let wrong = || format!("found `{text}`, expected a size, as in 500MB or 2GiB");
    known.map(|bytes| bytes as u64).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_with_units_and_without() {
        for (text, bytes) in [
            ("2GiB", 2 << 30),
            ("500MB", 500_000_000),
            ("1.5 kib", 1536),
            ("64B", 64),
            (" 1024 ", 1024),
            ("1tb", 1_000_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "GiB", "0", "-1MB", "1.5.5GB", "2 Gigs", "nan", "inf", "1e30TB", "0.1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
