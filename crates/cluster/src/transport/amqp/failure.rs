//! Tells what has gone wrong, in words and without credentials.
use std::time::Duration;

use lapin::{
    Error, ErrorKind,
    protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError},
    types::ShortString,
};

use crate::transport::TransportError;

/// A connection's failures: where, and after how much silence it is given up.
#[derive(Debug, Clone)]
pub(super) struct Failures {
    pub(super) address: String,
    pub(super) silence: Duration,
}

impl Failures {
    /// Why connecting has failed. The broker's own words name the user.
    pub(super) fn of_connecting(&self, error: Error, vhost: &str) -> TransportError {
        match error.kind() {
            ErrorKind::ProtocolError(refused) if is_access_refused(refused) => self.refused(
                "it does not accept the user or the password: set those of an existing user in the address".into(),
            ),
            ErrorKind::ProtocolError(refused)
                if matches!(
                    refused.kind(),
                    AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::INVALIDPATH)
                ) =>
            {
                self.refused(format!(
                    "the virtual host `{vhost}` does not exist, or the user has no permissions for it: \
                     `rabbitmqctl list_permissions -p {vhost}` shows them"
                ))
            }
            _ => self.of(error),
        }
    }

    /// Why the broker refuses to declare, bind, publish or consume.
    pub(super) fn of_declaring(&self, error: Error, what: &str) -> TransportError {
        match error.kind() {
            ErrorKind::ProtocolError(refused) if is_access_refused(refused) => self.refused(format!(
                "the user has no permission for {what}: it needs `configure`, `write` and `read` for exchange and queue, as \
                 by `rabbitmqctl set_permissions USER '^(EXCHANGE|amq\\.gen.*)$' '^(EXCHANGE|amq\\.gen.*)$' \
                 '^(EXCHANGE|amq\\.gen.*)$'`; a queue that another server consumes from is refused, too"
            )),
            ErrorKind::ProtocolError(refused) => self.refused(format!("{what}: {}", refused.get_message())),
            _ => self.of(error),
        }
    }

    /// Why a connection has ended.
    pub(super) fn of(&self, error: Error) -> TransportError {
        match error.kind() {
            ErrorKind::MissingHeartbeatError => {
                TransportError::Silent { address: self.address.clone(), silence: self.silence }
            }
            _ => TransportError::Connection { address: self.address.clone(), source: Box::new(error) },
        }
    }

    pub(super) fn refused(&self, reason: String) -> TransportError {
        TransportError::Refused { address: self.address.clone(), reason }
    }

    /// The name as the protocol carries it, up to 255 bytes.
    pub(super) fn short(&self, name: &str) -> Result<ShortString, TransportError> {
        ShortString::try_new(name.to_owned())
            .map_err(|_| self.refused("names of exchanges and queues have at most 255 bytes".into()))
    }
}

/// Whether something exists, but is declared otherwise. Returns what the broker says of it.
pub(super) fn is_declared_otherwise(error: &Error) -> Option<String> {
    match error.kind() {
        ErrorKind::ProtocolError(error)
            if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)) =>
        {
            Some(error.get_message().to_string())
        }
        _ => None,
    }
}

fn is_access_refused(error: &AMQPError) -> bool {
    matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED))
}
