//! Sizes and durations as people write them: `"64KiB"`, `"5GB"`, `"500ms"`, `"24h"`.

use std::time::Duration;

/// `KB`, `MB`, `GB`, `TB` are powers of 1000; `KiB`, `MiB`, `GiB`, `TiB` of 1024; `B` or nothing is
/// bytes. Case does not matter.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let scale: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(format!("\"{text}\" is not a size: write \"64KiB\", \"5GB\" or a number of bytes")),
    };
    scaled(number, u128::from(scale))
        .and_then(|bytes| u64::try_from(bytes).ok())
        .ok_or_else(|| format!("\"{text}\" is not a size that fits in 64 bits"))
}

/// `ms`, `s`, `m`, `h`, `d`; a number without a unit is not a duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let scale_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => {
            return Err(format!(
                "\"{text}\" is not a duration: write \"500ms\", \"30s\", \"15m\", \"24h\" or \"7d\""
            ));
        }
    };
    scaled(number, u128::from(scale_ms))
        .and_then(|ms| u64::try_from(ms).ok())
        .map(Duration::from_millis)
        .ok_or_else(|| format!("\"{text}\" is not a duration that fits in 64 bits of milliseconds"))
}

fn split(text: &str) -> Result<(&str, &str), String> {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    if number.is_empty() {
        return Err(format!("\"{text}\" does not begin with a number"));
    }
    Ok((number, unit.trim_start()))
}

/// Decimal text times `scale`, exact where the product is whole and rounded down where it is not.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.is_empty() || s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 12 || (whole.is_empty() && fraction.is_empty())
    {
        return None;
    }
    let value = |s: &str| if s.is_empty() { Some(0) } else { s.parse::<u128>().ok() };
    let tenth = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let product = value(whole)?.checked_mul(scale)?;
    product.checked_add(value(fraction)?.checked_mul(scale)? / tenth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("64KiB", 65_536),
            ("5GB", 5_000_000_000),
            ("1.5 MiB", 1_572_864),
            ("10tb", 10_000_000_000_000),
            ("7 B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GB", "-1", "5 parsecs", "1.2.3", "99999999999TiB", "1e3"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("1.5h", 5_400_000), ("24h", 86_400_000), ("7d", 604_800_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "5", "h", "5 hours!", "99999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
