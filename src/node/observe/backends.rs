//! How each backend does, and what was asked of it.

use super::encode::{Figure, Labels};
use store::{BackendState, BackendStatus, Circuit};

pub fn of(backends: &[BackendStatus]) -> Vec<Figure> {
    let each = |value: fn(&BackendStatus) -> f64| -> Vec<(Labels, f64)> {
        backends.iter().map(|backend| (vec![("backend", backend.name.clone())], value(backend))).collect()
    };
    let answers = |backend: &BackendStatus| f64::from(u8::from(backend.circuit == Circuit::Closed));
    let active = |backend: &BackendStatus| f64::from(u8::from(backend.state == BackendState::Active));
    vec![
        Figure::each(
            "backend_answers",
            "0 from the failure that had it left alone until it answers",
            each(answers),
        ),
        Figure::each(
            "backend_active",
            "1 while it takes new copies; 0 when it is drained or removed",
            each(active),
        ),
        Figure::each_counter(
            "backend_bad_copies",
            "Copies there that were found missing or damaged",
            each(|backend| backend.bad_found as f64),
        ),
        Figure::each(
            "backend_month_calls",
            "Calls of this month (UTC)",
            each(|backend| backend.traffic.calls as f64),
        ),
        Figure::each(
            "backend_month_read_bytes",
            "Bytes read from it this month (UTC)",
            each(|backend| backend.traffic.egress_bytes as f64),
        ),
        Figure::each(
            "backend_month_written_bytes",
            "Bytes written to it this month (UTC)",
            each(|backend| backend.traffic.ingress_bytes as f64),
        ),
    ]
}
