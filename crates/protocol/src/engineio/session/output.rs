use super::{close_reason::CloseReason, upgrade_error::UpgradeError};
use crate::websocket::CloseCode;

/// What a driver does next to its connections, in the order in which [`Session::poll_transmit`] hands it out.
///
/// [`Session::poll_transmit`]: super::Session::poll_transmit
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transmit {
    /// Close the WebSocket that tried to take over, by a Close frame without a code, and forget it.
    DropProbe,
    /// Send `2probe` on the WebSocket that is to take over.
    Probe,
    /// Send `3probe` on the WebSocket that wants to take over.
    ProbeAnswer,
    /// Send `5` on the WebSocket that takes over, before everything that waits.
    Upgrade,
    /// Append a ping to what waits.
    Ping,
    /// Append a pong to what waits, with the data of the ping that was just handled.
    Pong,
    /// Drop what waits, but for the rest of a frame that is written in part.
    Discard,
    /// Append the packet `1` to what waits.
    ClosePacket,
    /// Append a Close frame to what waits.
    CloseFrame(Option<CloseCode>),
    /// Shut the WebSocket's sending side, and keep reading it until [`Event::Ended`].
    Shut,
}

/// What a server answers a GET with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GetAnswer {
    /// What waits, as much as fits.
    Waiting,
    /// The packet `6`, which only ends the poll.
    Noop,
    /// The packet `1`, because the session has ended.
    Close,
    /// The error for an unknown session, because the server shuts down: python-engineio takes the packet `1` for the wish
    /// that it stay away, and every client reconnects when its poll fails, as after a server was killed.
    Gone,
    /// An error, because the session has moved to a WebSocket meanwhile.
    Moved,
}

/// What happened to a session, in the order in which [`Session::poll`](super::Session::poll) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An upgrade failed; the session goes on polling.
    UpgradeFailed(UpgradeError),
    /// The WebSocket that was probed is the session's transport now.
    Upgraded,
    /// The session is closed: from now on no message is delivered and none is taken. It comes exactly once.
    Closed(CloseReason),
    /// Nothing is left to be sent or awaited, and the connections may be dropped. It comes exactly once, after
    /// [`Closed`](Self::Closed).
    Ended,
}

/// The transmits that are due, a bit each.
#[derive(Debug, Default)]
pub(super) struct Transmits {
    due: u16,
    close_code: Option<CloseCode>,
}

impl Transmits {
    pub(super) fn add(&mut self, transmit: Transmit) {
        if let Transmit::CloseFrame(code) = transmit {
            self.close_code = code;
        }
        self.due |= bit(transmit);
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<Transmit> {
        if self.due == 0 {
            return None;
        }
        let transmit = match self.due.trailing_zeros() {
            0 => Transmit::DropProbe,
            1 => Transmit::Probe,
            2 => Transmit::ProbeAnswer,
            3 => Transmit::Upgrade,
            4 => Transmit::Ping,
            5 => Transmit::Pong,
            6 => Transmit::Discard,
            7 => Transmit::ClosePacket,
            8 => Transmit::CloseFrame(self.close_code),
            _ => Transmit::Shut,
        };
        self.due &= !bit(transmit);
        Some(transmit)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due == 0
    }
}

/// The earlier a transmit comes, the lower its bit.
fn bit(transmit: Transmit) -> u16 {
    1 << match transmit {
        Transmit::DropProbe => 0,
        Transmit::Probe => 1,
        Transmit::ProbeAnswer => 2,
        Transmit::Upgrade => 3,
        Transmit::Ping => 4,
        Transmit::Pong => 5,
        Transmit::Discard => 6,
        Transmit::ClosePacket => 7,
        Transmit::CloseFrame(_) => 8,
        Transmit::Shut => 9,
    }
}

/// What happened and was not told yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) upgrade_failed: Option<UpgradeError>,
    pub(super) upgraded: bool,
    pub(super) closed: Option<CloseReason>,
    pub(super) ended: bool,
}

impl Events {
    #[inline]
    pub(super) fn next(&mut self) -> Option<Event> {
        if let Some(error) = self.upgrade_failed.take() {
            return Some(Event::UpgradeFailed(error));
        }
        if std::mem::take(&mut self.upgraded) {
            return Some(Event::Upgraded);
        }
        if let Some(reason) = self.closed.take() {
            return Some(Event::Closed(reason));
        }
        std::mem::take(&mut self.ended).then_some(Event::Ended)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.upgrade_failed.is_none() && !self.upgraded && self.closed.is_none() && !self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transmits_come_once_each_and_in_their_order() {
        let mut transmits = Transmits::default();
        let code = Some(CloseCode::TOO_BIG);
        let ordered = [
            Transmit::DropProbe,
            Transmit::Probe,
            Transmit::ProbeAnswer,
            Transmit::Upgrade,
            Transmit::Ping,
            Transmit::Pong,
            Transmit::Discard,
            Transmit::ClosePacket,
            Transmit::CloseFrame(code),
            Transmit::Shut,
        ];
        ordered.iter().rev().for_each(|transmit| transmits.add(*transmit));
        let due: Vec<_> = std::iter::from_fn(|| transmits.next()).collect();
        assert_eq!(due, ordered);
        assert!(transmits.is_empty());
    }
}
