//! How much one client may ask for, and which proxies say who it is.

use super::keys;
use super::reader::{Reader, Section};
use s3api::{ForwardedHeader, Network, Proxies, Rate, RateLimits, Refill};

pub fn read_rates<'a>(reader: &mut Reader<'a>, s3: &Section<'a>) -> RateLimits {
    let mut limits = RateLimits::default();
    if let Some(section) = reader.table(s3, "per_address", "[s3.per_address]", keys::PER_ADDRESS) {
        limits.address = read_rate(reader, &section).unwrap_or_default();
        limits.connections_per_address = reader.count(&section, "connections");
    }
    if let Some(section) = reader.table(s3, "per_credential", "[s3.per_credential]", keys::PER_CREDENTIAL) {
        limits.credential = read_rate(reader, &section).unwrap_or_default();
    }
    limits
}

/// The rate of a table that has one.
pub fn read_rate<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> Option<Rate> {
    let requests = reader.count(section, "requests_per_second").map(|count| count as f64);
    let burst = reader.count(section, "burst").map(|count| count as f64);
    let bytes = reader.size(section, "bytes_per_second").map(|bytes| bytes as f64);
    if burst.is_some() && !section.has("requests_per_second") {
        let message = "`burst` needs `requests_per_second`";
        reader.problems.error(&section.span_of("burst"), message);
    }
    // What comes within a second may come at once.
    let requests = requests.map(|per_second| Refill { per_second, burst: burst.unwrap_or(per_second) });
    let bytes = bytes.map(|per_second| Refill { per_second, burst: per_second });
    (requests.is_some() || bytes.is_some()).then_some(Rate { requests, bytes })
}

pub fn read_proxies<'a>(reader: &mut Reader<'a>, s3: &Section<'a>) -> Proxies {
    let mut trusted = Vec::new();
    for text in reader.texts(s3, "trusted_proxies").unwrap_or_default() {
        let network = Network::parse(&text.value).ok_or_else(|| {
            format!(
                "\"{}\" is not an address: write \"127.0.0.1\", \"10.0.0.0/8\" or \"fd00::/8\"",
                text.value
            )
        });
        trusted.extend(reader.parsed(&text, network));
    }
    let header = match reader.word(s3, "forwarded_header", &["x-forwarded-for", "forwarded"]).as_deref() {
        Some("forwarded") => ForwardedHeader::Forwarded,
        _ => ForwardedHeader::XForwardedFor,
    };
    Proxies { trusted, header }
}
