//! The SDK's client, with its own cleverness off: retries, time limits and checksums are ours.

use super::{S3Options, Signing};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};

pub fn connect(options: &S3Options, signing: &Signing) -> Client {
    let Signing { access_key_id, secret_access_key, region } = signing;
    let credentials = Credentials::new(access_key_id, secret_access_key, None, None, "configuration");
    let timeouts = TimeoutConfig::builder().connect_timeout(options.connect_timeout).build();
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(&options.endpoint)
        .region(Region::new(region.clone()))
        .credentials_provider(credentials)
        .force_path_style(options.path_style)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Many providers refuse the checksum headers of newer SDKs; what comes back is verified by
        // the store's own checksums.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}
