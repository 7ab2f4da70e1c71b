/// Why a WebSocket does not take a session over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The connection could not be opened, or broke.
    #[error("the WebSocket broke before the upgrade was complete")]
    Broken,
    /// The peer closed the WebSocket.
    #[error("the peer closed the WebSocket before the upgrade was complete")]
    Closed,
    /// Something came that is no part of the upgrade.
    #[error("the peer sent a packet on the WebSocket that is no part of an upgrade")]
    Unexpected,
    /// The upgrade took longer than its limit.
    #[error("the upgrade was not complete in time; `upgrade_timeout` sets how long it may take")]
    TimedOut,
    /// The session was closed.
    #[error("the session was closed")]
    SessionClosed,
    /// The session uses a WebSocket, or another one is about to take over.
    #[error("the session has another WebSocket already")]
    Taken,
}
