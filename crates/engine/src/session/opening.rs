use sockeye_protocol::engineio::Revision;

use crate::{Handshake, Sid, session::permits::ConnectionPermit};

/// A handshake that was admitted.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) id: Sid,
    pub(crate) permit: ConnectionPermit,
    pub(crate) revision: Revision,
    /// Whether a client of revision 3 can only take binary messages as base64.
    pub(crate) base64: bool,
    pub(crate) handshake: Handshake,
}
