//! Who really asks, where proxies stand in between.
//!
//! One header is believed, and only from proxies that were named: a proxy that writes one of them
//! passes the other on as the client sent it.

use http::HeaderMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// `10.0.0.0/8`, `2001:db8::/32`, or an address alone.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(longest), |bits| bits.parse().ok())?;
        (bits <= longest).then_some(Self { address, bits })
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same(u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32, self.bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.to_bits(), theirs.to_bits(), 128, self.bits),
            _ => false,
        }
    }
}

fn same(ours: u128, theirs: u128, width: u8, bits: u8) -> bool {
    // A shift by the whole width is none at all.
    (ours ^ theirs).checked_shr(u32::from(width - bits)).unwrap_or(0) == 0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

#[derive(Debug, Clone, Default)]
pub struct Proxies {
    pub trusted: Vec<Network>,
    pub header: ForwardedHeader,
}

/// Whom a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    pub peer: SocketAddr,
    /// What a trusted proxy said.
    pub forwarded: Option<IpAddr>,
}

impl Remote {
    pub fn direct(peer: SocketAddr) -> Self {
        Self { peer, forwarded: None }
    }

    pub fn ip(&self) -> IpAddr {
        self.forwarded.unwrap_or(self.peer.ip()).to_canonical()
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.forwarded {
            Some(address) => write!(f, "{address}"),
            None => write!(f, "{}", self.peer),
        }
    }
}

impl Proxies {
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    pub fn remote(&self, peer: SocketAddr, headers: &HeaderMap) -> Remote {
        if self.trusted.is_empty() || !self.trusts(peer.ip()) {
            return Remote::direct(peer);
        }
        Remote { peer, forwarded: self.client(headers) }
    }

    /// The list grows at its end: from there, the first that is not one of our proxies. What lies
    /// before it is what that one claims.
    fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let name = match self.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        };
        let mut client = None;
        let lines: Vec<&str> =
            headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?")).collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let node = match self.header {
                ForwardedHeader::XForwardedFor => Some(hop),
                ForwardedHeader::Forwarded => forwarded_for(hop),
            };
            // What is no address says nothing, and nothing behind it can be believed.
            let Some(address) = node.and_then(address) else { return client };
            client = Some(address);
            if !self.trusts(address) {
                return client;
            }
        }
        client
    }
}

/// `for=` of one element of a `Forwarded` header.
fn forwarded_for(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut nodes = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value);
    nodes.next().map(|node| node.trim().trim_matches('"'))
}

/// With or without a port; an IPv6 address with a port is in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(socket.ip().to_canonical());
    }
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.and_then(|inside| inside.parse::<IpAddr>().ok()).map(|address| address.to_canonical())
}

/// What a limit for an address counts: a household has 2^64 addresses of IPv6.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn proxies(networks: &[&str], header: ForwardedHeader) -> Proxies {
        Proxies { trusted: networks.iter().map(|text| Network::parse(text).unwrap()).collect(), header }
    }

    fn client(proxies: &Proxies, peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        proxies.remote(format!("{peer}:1234").parse().unwrap(), &headers).ip().to_string()
    }

    #[test]
    fn networks() {
        let contains = |network: &str, address: &str| {
            Network::parse(network).unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.1.2") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "1.2.3.4") && contains("1.2.3.4", "1.2.3.4"));
        assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1") && !contains("2001:db8::/32", "2001:db9::1"));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "x", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_named_proxies_are_believed() {
        let ours = proxies(&["127.0.0.1", "10.0.0.0/8"], ForwardedHeader::XForwardedFor);
        let said = |line: &str| client(&ours, "127.0.0.1", &[("x-forwarded-for", line)]);
        assert_eq!(client(&ours, "9.9.9.9", &[("x-forwarded-for", "1.2.3.4")]), "9.9.9.9");
        assert_eq!(said("1.2.3.4"), "1.2.3.4");
        assert_eq!(said("6.6.6.6, 1.2.3.4"), "1.2.3.4");
        assert_eq!(said("6.6.6.6, 1.2.3.4, 10.1.1.1"), "1.2.3.4");
        assert_eq!(said("1.2.3.4:5678"), "1.2.3.4");
        assert_eq!(said("6.6.6.6, nonsense"), "127.0.0.1");
        assert_eq!(said("6.6.6.6, nonsense, 10.1.1.1"), "10.1.1.1");
        assert_eq!(client(&ours, "127.0.0.1", &[("forwarded", "for=1.2.3.4")]), "127.0.0.1");
        let two = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4")];
        assert_eq!(client(&ours, "127.0.0.1", &two), "1.2.3.4");
    }

    #[test]
    fn the_standard_header() {
        let ours = proxies(&["127.0.0.1"], ForwardedHeader::Forwarded);
        let said = |line: &str| client(&ours, "127.0.0.1", &[("forwarded", line)]);
        assert_eq!(said("for=1.2.3.4;proto=https;by=5.5.5.5"), "1.2.3.4");
        assert_eq!(said("for=6.6.6.6, For=\"[2001:db8::17]:47011\""), "2001:db8::17");
        assert_eq!(said("for=\"[2001:db8::17]\""), "2001:db8::17");
        assert_eq!(said("for=_hidden"), "127.0.0.1");
        assert_eq!(client(&ours, "127.0.0.1", &[("x-forwarded-for", "1.2.3.4")]), "127.0.0.1");
    }

    #[test]
    fn a_household_is_counted_as_one() {
        let of = |text: &str| household(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:1.2.3.4"), "1.2.3.4");
    }
}
