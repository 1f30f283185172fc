//! TLS: who we are, whom we believe, and the handshake.
//!
//! The identity can be replaced while connections are open: each handshake takes the one of its
//! moment, and a connection keeps the one that it began with.

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// In the order of our preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The contents of the files, as PEM.
pub struct Pem<'a> {
    /// Ours first, then those that lead to one that clients know.
    pub certificates: &'a [u8],
    pub key: &'a [u8],
    /// Clients must show a certificate that one of these has signed.
    pub client_ca: Option<&'a [u8]>,
}

/// A certificate and key that belong together.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// Which file is wrong, and why. Never a part of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadIdentity {
    Certificate(String),
    Key(String),
    ClientCa(String),
}

impl Identity {
    pub fn new(pem: &Pem<'_>) -> Result<Self, BadIdentity> {
        let chain = certificates(pem.certificates).map_err(BadIdentity::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(pem.key)
            .map_err(|_| BadIdentity::Key("there is no private key in it, in PEM".to_owned()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| BadIdentity::Key(error.to_string()))?;
        let builder = match pem.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                builder.with_client_cert_verifier(verifier(ca, provider).map_err(BadIdentity::ClientCa)?)
            }
        };
        let mut config =
            builder.with_single_cert(chain, key).map_err(|error| BadIdentity::Key(error.to_string()))?;
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        Ok(Self(Arc::new(config)))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|_| "it is not PEM".to_owned())?;
    if found.is_empty() { Err("there is no certificate in it, in PEM".to_owned()) } else { Ok(found) }
}

fn verifier(
    pem: &[u8],
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())
}

/// TLS as it is in force.
#[derive(Clone)]
pub struct Tls(Arc<ArcSwap<InForce>>);

struct InForce {
    config: Arc<ServerConfig>,
    handshake_timeout: Duration,
}

impl Tls {
    pub fn new(identity: Identity, handshake_timeout: Duration) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(InForce { config: identity.0, handshake_timeout })))
    }

    /// For handshakes from now on.
    pub fn replace(&self, identity: Identity, handshake_timeout: Duration) {
        self.0.store(Arc::new(InForce { config: identity.0, handshake_timeout }));
    }

    /// `None`: no TLS came of it, or not in time.
    pub(crate) async fn accept(&self, socket: TcpStream) -> Option<TlsStream<TcpStream>> {
        let now = self.0.load_full();
        let acceptor = TlsAcceptor::from(Arc::clone(&now.config));
        match tokio::time::timeout(now.handshake_timeout, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no TLS");
                None
            }
            Err(_) => None,
        }
    }
}

/// Whether the two agreed on HTTP/2.
pub(crate) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_identity_says_which_file_is_wrong() {
        let pem = Pem { certificates: b"x", key: b"y", client_ca: None };
        assert!(matches!(Identity::new(&pem), Err(BadIdentity::Certificate(_))));
        let wrong = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let pem = Pem { certificates: wrong, key: b"y", client_ca: None };
        assert!(matches!(Identity::new(&pem), Err(BadIdentity::Key(_))));
    }
}
