//! What a backend can answer instead of what it was asked for, by whose fault it is.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// There is no such replica. Whoever asked knows whether there should be one.
    Absent,
    /// No room, or a quota of the provider is used up: the next backend may take it.
    Full,
    /// The backend understood and will not: credentials, rights, a bucket that does not exist, a
    /// request that this provider does not support. Trying again does not help.
    Refused,
    /// It asks for fewer calls. Retries within the call are used up already.
    Throttled,
    /// Connection refused or reset, no progress in time, a 5xx, a disk that is not mounted, an I/O error.
    Unavailable,
    /// What came is not what was stored: fewer or more bytes than the record says, a checksum of the
    /// transfer that does not hold.
    Corrupt,
}

/// One failed call. After an error of a call that changes something, the change may have happened
/// all the same (an answer that was lost, a request that arrives late).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendError {
    pub fault: Fault,
    /// For the log and the operator; never a secret, never for a client.
    pub detail: String,
}

impl Fault {
    /// Whether the backend as a whole is in doubt: what its circuit breaker counts. A replica that
    /// is not there, or a full disk, says nothing against the other replicas on it.
    pub fn is_the_backends(self) -> bool {
        match self {
            Self::Refused | Self::Throttled | Self::Unavailable => true,
            Self::Absent | Self::Full | Self::Corrupt => false,
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Full => "full",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
        }
    }
}

impl BackendError {
    pub fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self { fault, detail: detail.into() }
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fault.name(), self.detail)
    }
}

impl std::error::Error for BackendError {}

impl From<std::io::Error> for BackendError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let fault = match error.kind() {
            Kind::NotFound => Fault::Absent,
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Fault::Full,
            Kind::PermissionDenied => Fault::Refused,
            Kind::UnexpectedEof => Fault::Corrupt,
            _ => Fault::Unavailable,
        };
        Self::new(fault, error.to_string())
    }
}
