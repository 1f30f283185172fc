//! What stands around a face for as long as it serves: who watches, and whether it is audited.

use std::sync::Arc;

use crate::observer::{Observer, Unobserved};
use crate::tls::Tls;

#[derive(Clone)]
pub struct Edge {
    pub observer: Arc<dyn Observer>,
    /// `None`: in the clear.
    pub tls: Option<Tls>,
    /// One audit line a request.
    pub audited: bool,
}

impl Default for Edge {
    fn default() -> Self {
        Self { observer: Arc::new(Unobserved), tls: None, audited: true }
    }
}
