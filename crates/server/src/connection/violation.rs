use sockeye_engine::{log_limit, log_throttled};
use sockeye_handler::with_causes;
use sockeye_protocol::socketio::{DecodeError, membership::MembershipViolation};

use crate::wire::parser::ReadError;

/// How a client broke the protocol.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Violation {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Membership(#[from] MembershipViolation),
    #[error("the client sent CONNECT_ERROR, which only servers send")]
    ConnectError,
}

impl Violation {
    /// Logs that this ends the connection of the session `sid`. `has_joined` tells whether its client has joined a
    /// namespace.
    pub(crate) fn log(&self, sid: &str, has_joined: bool) {
        if let Self::Read(ReadError::Decode(error)) = self
            && let Some((setting, limit, consequence)) = exceeded_setting(error)
        {
            return log_limit(sid, setting, limit, consequence);
        }
        let hint = if has_joined { "" } else { "; its client has joined no namespace and may use another parser" };
        let violation = with_causes(self);
        log_throttled!(warn, &violation, sid, violation, "closed a connection that broke the protocol{hint}");
    }
}

/// The setting that a packet exceeds, the value of the setting, and the text of the log line.
fn exceeded_setting(error: &DecodeError) -> Option<(&'static str, usize, &'static str)> {
    match error {
        DecodeError::TooManyAttachments { limit } => {
            Some(("max_attachments", *limit, "closed a connection because a packet announces too many attachments"))
        }
        DecodeError::AttachmentsTooLarge { limit } => Some((
            "max_attachment_bytes",
            *limit,
            "closed a connection because the attachments of a packet are too large",
        )),
        DecodeError::TooDeep { limit } => {
            Some(("max_depth", *limit, "closed a connection because a packet is nested too deeply"))
        }
        _ => None,
    }
}
