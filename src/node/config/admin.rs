//! `[admin]`: the listener for monitoring.

use super::keys;
use super::reader::{Reader, Section};
use super::s3::{checked, parse_listen};
use std::net::SocketAddr;

#[derive(Debug, Clone, Default)]
pub struct Admin {
    /// Metrics and health; `None`: there is no such listener.
    pub listen: Option<SocketAddr>,
}

pub fn read<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Admin {
    let Some(section) = reader.table(top, "admin", "[admin]", keys::ADMIN) else {
        return Admin::default();
    };
    let listen = checked(reader, &section, "listen", parse_listen);
    if listen.is_some_and(|address| !address.ip().is_loopback()) {
        let message = "metrics have no password: whoever reaches this address can read them";
        reader.problems.warning(&section.span_of("listen"), message);
    }
    Admin { listen }
}
