//! How each backend is doing: as `status` shows it, and as monitoring counts it.

use crate::finding::Finding;
use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{BackendState, BackendStatus, Circuit};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Backend {
    pub name: String,
    /// `active`, `draining` or `removed`.
    pub state: String,
    /// `closed`: it answers. `open`: it fails, and is left alone. `half-open`: it is being tried.
    pub circuit: String,
    /// How long it has failed.
    pub down_seconds: Option<u64>,
    /// It has failed for longer than `replace_after`: what it has is copied elsewhere.
    pub given_up: bool,
    /// Copies that were found missing or damaged since the start.
    pub bad_copies: u64,
    /// What was asked of it since the month began.
    pub month: Asked,
    pub monthly_limits: Limits,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Asked {
    pub calls: u64,
    pub ingress_bytes: u64,
    pub egress_bytes: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Limits {
    pub calls: Option<u64>,
    pub ingress_bytes: Option<u64>,
    pub egress_bytes: Option<u64>,
}

impl Backend {
    pub fn answers(&self) -> bool {
        self.circuit == circuit(Circuit::Closed)
    }

    /// What is used up of what a month may have.
    fn used_up(&self) -> Vec<&'static str> {
        let Self { month, monthly_limits: limits, .. } = self;
        let each = [
            ("calls", month.calls, limits.calls),
            ("bytes in", month.ingress_bytes, limits.ingress_bytes),
            ("bytes out", month.egress_bytes, limits.egress_bytes),
        ];
        let used_up = each.into_iter().filter(|(_, used, limit)| limit.is_some_and(|limit| *used >= limit));
        used_up.map(|(what, ..)| what).collect()
    }
}

impl From<BackendStatus> for Backend {
    fn from(status: BackendStatus) -> Self {
        let (asked, limits) = (status.traffic, status.limits);
        Self {
            name: status.name,
            state: state(status.state).to_owned(),
            circuit: circuit(status.circuit).to_owned(),
            down_seconds: status.down_for.as_ref().map(Duration::as_secs),
            given_up: status.lost,
            bad_copies: status.bad_found,
            month: Asked {
                calls: asked.calls,
                ingress_bytes: asked.ingress_bytes,
                egress_bytes: asked.egress_bytes,
            },
            monthly_limits: Limits {
                calls: limits.calls,
                ingress_bytes: limits.ingress_bytes,
                egress_bytes: limits.egress_bytes,
            },
        }
    }
}

pub fn state(state: BackendState) -> &'static str {
    match state {
        BackendState::Active => "active",
        BackendState::Draining => "draining",
        BackendState::Removed => "removed",
    }
}

pub fn circuit(circuit: Circuit) -> &'static str {
    match circuit {
        Circuit::Closed => "closed",
        Circuit::Open => "open",
        Circuit::HalfOpen => "half-open",
    }
}

/// In the order of the configuration.
pub fn all(node: &Node) -> Vec<Backend> {
    node.store.backends().into_iter().map(Backend::from).collect()
}

/// One that fails, and a month's limit that is used up.
pub fn findings(node: &Node) -> Vec<Finding> {
    all(node).iter().flat_map(|backend| down(backend).into_iter().chain(used_up(backend))).collect()
}

fn down(backend: &Backend) -> Option<Finding> {
    let name = &backend.name;
    let fails = !backend.answers() && backend.state != state(BackendState::Removed);
    let message = match backend.given_up {
        true => {
            format!("the backend {name} does not answer: for so long that its copies are made anew elsewhere")
        }
        false => format!("the backend {name} does not answer"),
    };
    let remedy = format!("s3-orchestrator probe {name} says what fails; it is tried again by itself");
    fails.then(|| Finding::error("backend-down", message, remedy))
}

fn used_up(backend: &Backend) -> Option<Finding> {
    let what = backend.used_up().join(" and ");
    (!what.is_empty()).then(|| {
        let name = &backend.name;
        let remedy = "others are used until the month is over; or raise its limit and `reload`";
        Finding::warning(
            "month-used-up",
            format!("backend {name} has used up its {what} of this month"),
            remedy,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend() -> Backend {
        Backend {
            name: "far".to_owned(),
            state: "active".to_owned(),
            circuit: "closed".to_owned(),
            down_seconds: None,
            given_up: false,
            bad_copies: 0,
            month: Asked { calls: 10, ingress_bytes: 5, egress_bytes: 0 },
            monthly_limits: Limits { calls: None, ingress_bytes: None, egress_bytes: None },
        }
    }

    #[test]
    fn a_month_that_is_used_up_is_told_by_what() {
        let limits = |calls, ingress_bytes| Limits { calls, ingress_bytes, egress_bytes: None };
        assert!(used_up(&Backend { monthly_limits: limits(Some(11), Some(6)), ..backend() }).is_none());
        let both = used_up(&Backend { monthly_limits: limits(Some(10), Some(5)), ..backend() });
        assert!(both.is_some_and(|f| f.message.contains("its calls and bytes in of this month")));
    }
}
