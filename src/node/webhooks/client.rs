//! One POST to a receiver.

use super::signature;
use crate::config::Webhook;
use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::sync::Arc;
use std::time::Duration;

/// Nobody needs to say more than that he has it.
const MAX_ANSWER_BYTES: usize = 64 << 10;
const IDLE: Duration = Duration::from_secs(60);
const AGENT: &str = concat!("s3-orchestrator/", env!("CARGO_PKG_VERSION"));

pub struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    config: Webhook,
}

impl Client {
    pub fn new(config: &Webhook) -> anyhow::Result<Self> {
        let uri = config.url.parse().context("the URL of a webhook")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = HttpsConnectorBuilder::new();
        let builder = match &config.ca {
            Some(pem) => builder.with_tls_config(trusting(pem, provider)?),
            None => builder.with_provider_and_native_roots(provider).context("the system's certificates")?,
        };
        let connector = builder.https_or_http().enable_http1().build();
        let http = Http::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { http, uri, config: config.clone() })
    }

    /// The receiver has it, or why it has not.
    pub async fn post(&self, delivery: &str, seconds: u64, body: String) -> Result<(), String> {
        let body = Bytes::from(body);
        let request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("x-s3o-delivery", delivery)
            .header(signature::HEADER, signature::sign(&self.config.secret, seconds, &body))
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|error| chain(&error))?;
            let status = answer.status();
            // Read to its end, so that the connection can be used again.
            let _ = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
            Ok::<StatusCode, String>(status)
        };
        match tokio::time::timeout(self.config.timeout, exchange).await {
            Ok(Ok(status)) if status.is_success() => Ok(()),
            Ok(Ok(status)) => Err(format!("it answered {status}")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(format!("no answer within {:?}", self.config.timeout)),
        }
    }
}

fn trusting(
    pem: &[u8],
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.context("a certificate of `ca`")?)?;
    }
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The cause stands behind the error, often several steps.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
