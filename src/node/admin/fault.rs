//! Why the node does not do what it was asked. Codes are stable; messages are for people.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultCode {
    /// The request cannot be read, or asks for what makes no sense.
    BadRequest,
    UnknownCommand,
    /// What it names is not there.
    NotFound,
    /// What it names is not as it would have to be.
    Conflict,
    /// A configuration is not good.
    BadConfiguration,
    TooLong,
    /// A disk failed, or the node is at fault.
    Failed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    pub code: FaultCode,
    pub message: String,
}

impl Fault {
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(FaultCode::NotFound, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(FaultCode::Conflict, message)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(FaultCode::BadRequest, message)
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(FaultCode::Failed, message)
    }

    pub fn status(&self) -> StatusCode {
        match self.code {
            FaultCode::BadRequest => StatusCode::BAD_REQUEST,
            FaultCode::UnknownCommand | FaultCode::NotFound => StatusCode::NOT_FOUND,
            FaultCode::Conflict | FaultCode::BadConfiguration => StatusCode::CONFLICT,
            FaultCode::TooLong => StatusCode::GATEWAY_TIMEOUT,
            FaultCode::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<store::OrderError> for Fault {
    fn from(error: store::OrderError) -> Self {
        match error {
            store::OrderError::NotFound(why) => Self::not_found(why),
            store::OrderError::Refused(why) => Self::conflict(why),
            store::OrderError::Store(error) => error.into(),
        }
    }
}

impl From<store::StoreError> for Fault {
    fn from(error: store::StoreError) -> Self {
        match error {
            store::StoreError::NoSuchKey => Self::not_found(error.to_string()),
            _ => Self::new(FaultCode::Failed, error.to_string()),
        }
    }
}
