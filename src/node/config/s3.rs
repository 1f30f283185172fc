//! `[s3]`: the S3 endpoint and its limits. Each default has its reason here.

use super::rates::{read_proxies, read_rates};
use super::reader::{At, Reader, Section};
use super::tls::{Tls, read_tls};
use s3api::{Proxies, RateLimits};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct S3 {
    pub listen: SocketAddr,
    pub domain: Option<String>,
    pub external_url: Option<String>,
    pub max_object_size_bytes: u64,
    pub multipart_expiry: Duration,
    pub sigv2_presigned: bool,
    pub max_connections: usize,
    pub max_requests_in_flight: usize,
    pub max_buffer_bytes: usize,
    pub max_head_bytes: usize,
    pub max_xml_bytes: usize,
    pub head_timeout: Duration,
    pub idle_timeout: Duration,
    pub body_timeout: Duration,
    pub min_body_bytes_per_second: u64,
    pub shutdown_grace: Duration,
    pub tls: Option<Tls>,
    pub proxies: Proxies,
    pub rates: RateLimits,
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)),
            domain: None,
            external_url: None,
            // What S3 calls 5 GB for one PUT is 5 GiB
            // (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
            max_object_size_bytes: 5 << 30,
            multipart_expiry: Duration::from_secs(24 * 3600),
            // AWS CLI 1 and boto3 presign this way in us-east-1.
            sigv2_presigned: true,
            // An idle connection costs about 10 KB.
            max_connections: 10_000,
            // Each may hold about 1 MiB of buffers.
            max_requests_in_flight: 256,
            // Some 200 large bodies at a time.
            max_buffer_bytes: 256 << 20,
            // A key of 1,024 bytes, percent-encoded, 2 KB of metadata, a session token.
            max_head_bytes: 16 << 10,
            // A manifest of 10,000 parts with SHA-256 checksums has about 2.3 MB.
            max_xml_bytes: 4 << 20,
            head_timeout: Duration::from_secs(10),
            // Longer than SDKs leave between two requests of one job.
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            min_body_bytes_per_second: 1 << 10,
            shutdown_grace: Duration::from_secs(30),
            tls: None,
            proxies: Proxies::default(),
            rates: RateLimits::default(),
        }
    }
}

pub fn read<'a>(reader: &mut Reader<'a>, section: &Section<'a>) -> S3 {
    let mut s3 = S3::default();
    endpoint(reader, section, &mut s3);
    sizes(reader, section, &mut s3);
    pressure(reader, section, &mut s3);
    s3.tls = read_tls(reader, section);
    s3.proxies = read_proxies(reader, section);
    s3.rates = read_rates(reader, section);
    s3
}

fn endpoint<'a>(reader: &mut Reader<'a>, section: &Section<'a>, s3: &mut S3) {
    if let Some(at) = checked(reader, section, "listen", parse_listen) {
        s3.listen = at;
    }
    s3.domain = checked(reader, section, "domain", parse_domain);
    s3.external_url = checked(reader, section, "external_url", parse_url);
    set(&mut s3.sigv2_presigned, reader.boolean(section, "sigv2_presigned"));
}

fn sizes<'a>(reader: &mut Reader<'a>, section: &Section<'a>, s3: &mut S3) {
    set(&mut s3.max_object_size_bytes, reader.size(section, "max_object_size"));
    if s3.max_object_size_bytes > types::MAX_OBJECT_SIZE_BYTES {
        let span = section.span_of("max_object_size");
        reader.problems.error(&span, "`max_object_size` is at most 5TiB");
    }
    set(&mut s3.max_head_bytes, in_memory(reader, section, "max_head_size", 8 << 10, 1 << 20));
    set(&mut s3.max_buffer_bytes, in_memory(reader, section, "max_buffer_memory", 8 << 20, 1 << 40));
    set(&mut s3.max_xml_bytes, in_memory(reader, section, "max_xml_size", 64 << 10, 64 << 20));
}

fn pressure<'a>(reader: &mut Reader<'a>, section: &Section<'a>, s3: &mut S3) {
    set(&mut s3.multipart_expiry, reader.duration(section, "multipart_expiry"));
    set(&mut s3.head_timeout, reader.duration(section, "head_timeout"));
    set(&mut s3.idle_timeout, reader.duration(section, "idle_timeout"));
    set(&mut s3.body_timeout, reader.duration(section, "body_timeout"));
    set(&mut s3.shutdown_grace, reader.duration(section, "shutdown_grace"));
    set(&mut s3.min_body_bytes_per_second, reader.size(section, "min_body_rate"));
    set(&mut s3.max_connections, reader.count(section, "max_connections"));
    set(&mut s3.max_requests_in_flight, reader.count(section, "max_requests_in_flight"));
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

pub fn checked<'a, T>(
    reader: &mut Reader<'a>,
    section: &Section<'a>,
    key: &str,
    check: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let text = reader.text(section, key)?;
    let result = check(&text.value);
    reader.parsed(&text, result)
}

/// A size of something that is held in memory.
fn in_memory<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'a>,
    key: &str,
    min: u64,
    max: u64,
) -> Option<usize> {
    let value = reader.size(section, key)?;
    let span = section.span_of(key);
    let within = (min..=max).contains(&value);
    let message = format!("`{key}` lies between {min} and {max} bytes");
    let size = within.then_some(value).ok_or(message);
    let size = reader.parsed(&At { value, span }, size)?;
    usize::try_from(size).ok()
}

/// `IP:PORT`, or `localhost:PORT`. Other names are not looked up: `check` must not depend on DNS.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    local.as_deref().unwrap_or(text).parse().map_err(|_| {
        format!("\"{text}\" is not an address: write \"127.0.0.1:9000\", \"0.0.0.0:9000\" or \"[::]:9000\"")
    })
}

fn parse_domain(text: &str) -> Result<String, String> {
    let label = |l: &str| {
        let inside = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !l.is_empty() && l.len() <= 63 && l.bytes().all(inside)
    };
    let host = text.trim_end_matches('.');
    if host.len() > 253 || !host.split('.').all(label) || host.parse::<Ipv4Addr>().is_ok() {
        return Err(format!("\"{text}\" is not a domain: write \"s3.example.org\""));
    }
    Ok(host.to_ascii_lowercase())
}

fn parse_url(text: &str) -> Result<String, String> {
    let bad = || format!("\"{text}\" is not an endpoint: write \"https://s3.example.org\", without a path");
    let url = text.strip_suffix('/').unwrap_or(text);
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).ok_or_else(bad)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if host.is_empty() || !host.chars().all(allowed) {
        return Err(bad());
    }
    Ok(url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["127.0.0.1:0", "[::1]:9000", "localhost:9000", "0.0.0.0:80"] {
            assert!(parse_listen(good).is_ok(), "{good}");
        }
        for bad in ["9000", ":9000", "127.0.0.1", "example.org:9000", "127.0.0.1:99999", ""] {
            assert!(parse_listen(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn domains_and_urls() {
        assert_eq!(parse_domain("S3.Example.org."), Ok("s3.example.org".to_owned()));
        for bad in ["", "a..b", "http://x", "x:9000", "127.0.0.1", "a b"] {
            assert!(parse_domain(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_url("https://s3.example.org/"), Ok("https://s3.example.org".to_owned()));
        for bad in ["", "s3.example.org", "https://", "https://a/b", "ftp://a", "https://u@h"] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }
}
