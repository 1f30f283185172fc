//! `[telemetry]`: where traces go.

use super::keys;
use super::reader::{Reader, Section};
use super::s3::checked;

#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// `None`: nothing is traced.
    pub otlp_endpoint: Option<String>,
    /// Of requests that are not part of a client's trace, which decides for itself.
    pub sample_ratio: f64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp_endpoint: None, sample_ratio: 1.0 }
    }
}

pub fn read<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Telemetry {
    let mut telemetry = Telemetry::default();
    let Some(section) = reader.table(top, "telemetry", "[telemetry]", keys::TELEMETRY) else {
        return telemetry;
    };
    telemetry.otlp_endpoint = checked(reader, &section, "otlp_endpoint", parse_endpoint);
    if telemetry.otlp_endpoint.is_some() && cfg!(not(feature = "otlp")) {
        let message = "this build has no OTLP";
        reader.problems.error(&section.span_of("otlp_endpoint"), message);
    }
    if let Some(ratio) = checked(reader, &section, "sample_ratio", parse_ratio) {
        telemetry.sample_ratio = ratio;
    }
    telemetry
}

fn parse_endpoint(text: &str) -> Result<String, String> {
    let uri = text.parse::<http::Uri>().ok();
    let good =
        uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("\"{text}\" is not an endpoint: write \"http://127.0.0.1:4318\""))
}

/// A string, so that every number in the file is read in one way.
fn parse_ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| format!("\"{text}\" is not between \"0\" and \"1\""))
}
