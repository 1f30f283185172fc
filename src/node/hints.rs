//! Lines that can be pasted: how the AWS CLI, rclone and boto3 reach this node.

use crate::config::Config;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first line on standard output: scripts wait for it.
pub fn first_line(config: &Config, address: SocketAddr) -> String {
    format!("s3-orchestrator listening on {}", endpoint(config, address))
}

pub fn endpoint(config: &Config, address: SocketAddr) -> String {
    format!("{}://{address}", scheme(config))
}

/// The second line, where there is a listener for monitoring.
pub fn monitor_line(address: SocketAddr) -> String {
    format!("s3-orchestrator monitored on http://{address}")
}

/// How to use the first bucket. The secret is shown once, at the first start.
pub fn usage(config: &Config, address: SocketAddr, with_secret: bool) -> Option<String> {
    let bucket = config.buckets.iter().find(|b| !b.credentials.is_empty())?;
    let credential = bucket.credentials.first()?;
    let file = config.file.display();
    let endpoint = format!("{}://{}", scheme(config), reachable(address));
    let (intro, secret) = match with_secret {
        true => (
            format!("A bucket and a credential were made for you; they are in {file}.\n"),
            credential.secret.expose().to_owned(),
        ),
        false => (
            format!("SECRET below stands for the secret of this credential; it is configured in {file}.\n"),
            "SECRET".to_owned(),
        ),
    };
    Some(render(&intro, &endpoint, bucket.name.as_str(), &credential.access_key_id, &secret))
}

fn render(intro: &str, endpoint: &str, bucket: &str, id: &str, secret: &str) -> String {
    let mut text = format!("\n{intro}");
    let blocks = [
        aws_cli(endpoint, bucket, id, secret),
        rclone(endpoint, bucket, id, secret),
        boto3(endpoint, bucket, id, secret),
    ];
    for block in blocks {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{block}");
    }
    text.push_str("\nStop the node with Ctrl-C.\n");
    text
}

fn aws_cli(endpoint: &str, bucket: &str, id: &str, secret: &str) -> String {
    format!(
        r#"AWS CLI:
  export AWS_ACCESS_KEY_ID={id}
  export AWS_SECRET_ACCESS_KEY={secret}
  export AWS_DEFAULT_REGION=us-east-1
  echo hello | aws --endpoint-url {endpoint} s3 cp - s3://{bucket}/hello.txt
  aws --endpoint-url {endpoint} s3 ls s3://{bucket}/"#
    )
}

fn rclone(endpoint: &str, bucket: &str, id: &str, secret: &str) -> String {
    format!(
        r#"rclone:
  rclone config create orchestrator s3 provider=Other region=us-east-1 endpoint={endpoint} access_key_id={id} secret_access_key={secret}
  rclone ls orchestrator:{bucket}"#
    )
}

fn boto3(endpoint: &str, bucket: &str, id: &str, secret: &str) -> String {
    format!(
        r#"Python (boto3):
  import boto3
  s3 = boto3.client("s3", endpoint_url="{endpoint}", region_name="us-east-1", aws_access_key_id="{id}", aws_secret_access_key="{secret}")
  s3.put_object(Bucket="{bucket}", Key="hello.txt", Body=b"hello\n")
  print(s3.get_object(Bucket="{bucket}", Key="hello.txt")["Body"].read())"#
    )
}

fn scheme(config: &Config) -> &'static str {
    if config.s3.tls.is_some() { "https" } else { "http" }
}

/// Nobody can connect to "any address"; this machine reaches it as its own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_shown_as_this_machine() {
        let shown = |text: &str| text.parse().map(reachable).map(|a| a.to_string());
        assert_eq!(shown("0.0.0.0:9000"), Ok("127.0.0.1:9000".to_owned()));
        assert_eq!(shown("[::]:80"), Ok("[::1]:80".to_owned()));
        assert_eq!(shown("10.0.0.1:80"), Ok("10.0.0.1:80".to_owned()));
    }

    #[test]
    fn every_client_has_its_lines() {
        let text = render("intro\n", "http://127.0.0.1:9000", "b-1", "AKID1", "s3cr3t");
        for part in ["aws --endpoint-url http://127.0.0.1:9000", "rclone ls orchestrator:b-1", "import boto3"]
        {
            assert!(text.contains(part), "{part}");
        }
        assert_eq!(text.matches("s3cr3t").count(), 3);
    }
}
