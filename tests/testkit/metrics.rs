//! Metrics as a monitor reads them: one plain GET, and the text format of OpenMetrics.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Status and body of a plain GET.
pub fn get(addr: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    fetch(addr, "GET", path).map(|(status, _, body)| (status, body))
}

/// Status, head and body of a request without a body.
pub fn fetch(addr: SocketAddr, method: &str, path: &str) -> std::io::Result<(u16, String, String)> {
    let mut socket = TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(socket, "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, head.to_owned(), body.to_owned()))
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

#[derive(Debug, Clone, Default)]
pub struct Scrape {
    pub samples: Vec<Sample>,
    /// Names of `# TYPE` lines.
    pub families: BTreeSet<String>,
}

impl Scrape {
    pub fn of(addr: SocketAddr) -> Result<Self, String> {
        let (status, text) = get(addr, "/metrics").map_err(|error| error.to_string())?;
        if status != 200 {
            return Err(format!("status {status}: {text}"));
        }
        Self::parse(&text)
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scrape = Self::default();
        if !text.ends_with("# EOF\n") {
            return Err("the exposition does not end with # EOF".to_owned());
        }
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("# ") {
                Some(comment) => {
                    let mut words = comment.split(' ');
                    if words.next() == Some("TYPE") {
                        scrape.families.extend(words.next().map(str::to_owned));
                    }
                }
                None => scrape.samples.push(sample(line).ok_or_else(|| format!("not a sample: {line}"))?),
            }
        }
        Ok(scrape)
    }

    /// The sum of all samples of a name that have these labels; `None` if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(k, v)| sample.labels.get(*k).is_some_and(|found| found == v))
        };
        let mut found = self.samples.iter().filter(has).peekable();
        found.peek()?;
        Some(found.map(|sample| sample.value).sum())
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = match head.split_once('{') {
        Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)?),
        None => (head, BTreeMap::new()),
    };
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// `a="b",c="d"`; the values of a node's labels have no quotes in them.
fn labels(text: &str) -> Option<BTreeMap<String, String>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
    };
    text.split(',').filter(|text| !text.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_exposition_is_read() {
        let text =
            "# HELP a_b x\n# TYPE a_b counter\na_b_total{x=\"1\",y=\"2\"} 3\na_b_total{x=\"2\"} 4.5\n# EOF\n";
        let scrape = Scrape::parse(text).unwrap();
        assert_eq!(scrape.sum("a_b_total", &[]), Some(7.5));
        assert_eq!(scrape.sum("a_b_total", &[("x", "1")]), Some(3.0));
        assert_eq!(scrape.sum("a_b_total", &[("x", "3")]), None);
        assert!(scrape.families.contains("a_b"));
        assert!(Scrape::parse("a 1\n").is_err());
    }
}
