/// One client's membership in a namespace, as the server sees it.
///
/// The driver reports what happens by [`handle`](Self::handle), sends the packet that it returns, and asks
/// [`accept`](Self::accept) what to do with a packet of the client. It keeps the reason why a client leaves; the first
/// one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ServerMembership {
    /// The client has not asked for the namespace.
    Absent,
    /// The client offers to recover a session whose former socket has not left the namespace yet.
    AwaitingFormer,
    /// The connect handlers decide whether the client is let in.
    Connecting,
    /// The client is in the namespace.
    Joined,
    /// The client was in the namespace. Its disconnect handlers are to run.
    Leaving,
    /// The connection ended while the connect handlers ran. The disconnect handlers are to run and undo their work.
    Abandoned,
    /// The client or the server left while the connect handlers ran. The client is to be refused.
    Rejected,
    /// The client was in the namespace, and its disconnect handlers have run.
    Left,
    /// The client was refused.
    Refused,
}

/// What happens to a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// The client sends CONNECT.
    Connect {
        /// Whether the session that it offers to recover still has a socket in the namespace.
        former_is_present: bool,
    },
    /// The former socket has left the namespace, or the client need not wait for it any longer.
    FormerLeft,
    /// The connect handlers let the client in.
    Admit,
    /// A connect handler refuses the client.
    Refuse,
    /// The membership is to end.
    Leave(LeftBy),
    /// The disconnect handlers have run.
    HandlersEnded,
}

/// Who ends a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftBy {
    /// The client sends DISCONNECT.
    Client,
    /// The server disconnects the socket.
    Server,
    /// The connection ends.
    Connection,
}

/// A packet to send to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// CONNECT.
    Connect,
    /// CONNECT_ERROR.
    ConnectError,
    /// DISCONNECT.
    Disconnect,
}

/// A kind of packet that clients send to a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientPacket {
    /// CONNECT.
    Connect,
    /// EVENT or BINARY_EVENT.
    Event,
    /// ACK or BINARY_ACK.
    Ack,
    /// DISCONNECT.
    Disconnect,
}

/// What to do with a client's packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acceptance {
    /// Handle it.
    Handle,
    /// Drop it: the client may have sent it before it knew that the membership had ended.
    Ignore,
}

/// A packet that breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipViolation {
    /// The client has not joined the namespace.
    #[error("the client sent a packet to a namespace that it has not joined")]
    NotJoined,
    /// The client has joined the namespace already.
    #[error("the client sent CONNECT to a namespace that it has joined already")]
    JoinedAlready,
}

impl ServerMembership {
    const ALL: [Self; 9] = [
        Self::Absent,
        Self::AwaitingFormer,
        Self::Connecting,
        Self::Joined,
        Self::Leaving,
        Self::Abandoned,
        Self::Rejected,
        Self::Left,
        Self::Refused,
    ];

    /// Changes the membership and returns the packet that the client is to get. What cannot happen in this state changes
    /// nothing.
    #[must_use = "the client waits for the packet"]
    pub fn handle(&mut self, input: Input) -> Option<Answer> {
        let (next, answer) = match (*self, input) {
            (Self::Absent | Self::Left | Self::Refused, Input::Connect { former_is_present: true }) => {
                (Self::AwaitingFormer, None)
            }
            (Self::Absent | Self::Left | Self::Refused, Input::Connect { former_is_present: false }) => {
                (Self::Connecting, None)
            }
            (Self::AwaitingFormer, Input::FormerLeft) => (Self::Connecting, None),
            (Self::AwaitingFormer, Input::Leave(LeftBy::Server)) => (Self::Refused, Some(Answer::ConnectError)),
            (Self::AwaitingFormer, Input::Leave(LeftBy::Client | LeftBy::Connection)) => (Self::Left, None),
            (Self::Connecting, Input::Admit) => (Self::Joined, Some(Answer::Connect)),
            (Self::Connecting | Self::Rejected, Input::Refuse) => (Self::Refused, Some(Answer::ConnectError)),
            (Self::Connecting, Input::Leave(LeftBy::Connection)) => (Self::Abandoned, None),
            (Self::Connecting, Input::Leave(LeftBy::Client | LeftBy::Server)) => (Self::Rejected, None),
            (Self::Joined, Input::Leave(LeftBy::Server)) => (Self::Leaving, Some(Answer::Disconnect)),
            (Self::Joined, Input::Leave(LeftBy::Client | LeftBy::Connection)) => (Self::Leaving, None),
            (Self::Abandoned, Input::Refuse) => (Self::Refused, None),
            (Self::Leaving | Self::Abandoned, Input::HandlersEnded) => (Self::Left, None),
            (unchanged, _) => (unchanged, None),
        };
        *self = next;
        answer
    }

    /// Says what to do with a packet of the client.
    ///
    /// # Errors
    /// If the packet breaks the protocol.
    #[inline]
    pub fn accept(self, packet: ClientPacket) -> Result<Acceptance, MembershipViolation> {
        match (self, packet) {
            (Self::AwaitingFormer | Self::Connecting | Self::Joined, ClientPacket::Connect) => {
                Err(MembershipViolation::JoinedAlready)
            }
            (_, ClientPacket::Connect) | (Self::Joined, _) => Ok(Acceptance::Handle),
            (Self::AwaitingFormer | Self::Connecting, ClientPacket::Disconnect) => Ok(Acceptance::Handle),
            (Self::AwaitingFormer | Self::Connecting, ClientPacket::Ack) => Ok(Acceptance::Ignore),
            (Self::Leaving | Self::Abandoned | Self::Rejected | Self::Left, _) => Ok(Acceptance::Ignore),
            (Self::Absent | Self::AwaitingFormer | Self::Connecting | Self::Refused, _) => {
                Err(MembershipViolation::NotJoined)
            }
        }
    }

    /// Whether the client is in the namespace, or about to be.
    #[inline]
    pub fn is_current(self) -> bool {
        matches!(self, Self::AwaitingFormer | Self::Connecting | Self::Joined)
    }

    /// Whether nothing is left to do for the membership.
    #[inline]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Absent | Self::Left | Self::Refused)
    }
}

impl From<ServerMembership> for u8 {
    #[inline]
    fn from(membership: ServerMembership) -> Self {
        membership as Self
    }
}

/// The membership that has this number is the one that [`u8::from`] turns into it.
impl TryFrom<u8> for ServerMembership {
    type Error = u8;

    #[inline]
    fn try_from(number: u8) -> Result<Self, u8> {
        Self::ALL.get(usize::from(number)).copied().ok_or(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INPUTS: [Input; 9] = [
        Input::Connect { former_is_present: false },
        Input::Connect { former_is_present: true },
        Input::FormerLeft,
        Input::Admit,
        Input::Refuse,
        Input::Leave(LeftBy::Client),
        Input::Leave(LeftBy::Server),
        Input::Leave(LeftBy::Connection),
        Input::HandlersEnded,
    ];

    const PACKETS: [ClientPacket; 4] =
        [ClientPacket::Connect, ClientPacket::Event, ClientPacket::Ack, ClientPacket::Disconnect];

    /// Handles inputs one after the other and returns the answers.
    fn handle(membership: &mut ServerMembership, inputs: &[Input]) -> Vec<Answer> {
        inputs.iter().filter_map(|input| membership.handle(*input)).collect()
    }

    #[test]
    fn a_client_joins_and_is_disconnected() {
        let mut membership = ServerMembership::Absent;
        let joins = [Input::Connect { former_is_present: false }, Input::Admit];
        assert_eq!(handle(&mut membership, &joins), [Answer::Connect]);
        assert_eq!(membership.accept(ClientPacket::Event), Ok(Acceptance::Handle));
        assert_eq!(handle(&mut membership, &[Input::Leave(LeftBy::Server)]), [Answer::Disconnect]);
        assert_eq!(membership.accept(ClientPacket::Event), Ok(Acceptance::Ignore));
        assert_eq!(handle(&mut membership, &[Input::HandlersEnded]), []);
        assert_eq!(membership, ServerMembership::Left);
        assert_eq!(membership.accept(ClientPacket::Connect), Ok(Acceptance::Handle));
    }

    #[test]
    fn a_client_that_offers_a_session_waits_for_its_former_socket() {
        let mut membership = ServerMembership::Absent;
        assert_eq!(handle(&mut membership, &[Input::Connect { former_is_present: true }, Input::Admit]), []);
        assert_eq!(membership, ServerMembership::AwaitingFormer);
        assert_eq!(membership.accept(ClientPacket::Event), Err(MembershipViolation::NotJoined));
        assert_eq!(handle(&mut membership, &[Input::FormerLeft, Input::Admit]), [Answer::Connect]);
    }

    #[test]
    fn a_client_that_goes_while_its_connect_handlers_run_leaves_or_is_refused() {
        for (by, next, refused) in [
            (LeftBy::Connection, ServerMembership::Abandoned, None),
            (LeftBy::Server, ServerMembership::Rejected, Some(Answer::ConnectError)),
            (LeftBy::Client, ServerMembership::Rejected, Some(Answer::ConnectError)),
        ] {
            let mut membership = ServerMembership::Connecting;
            assert_eq!(handle(&mut membership, &[Input::Leave(by), Input::Admit]), [], "{by:?}");
            assert_eq!(membership, next);
            assert_eq!(membership.handle(Input::Refuse), refused);
            assert_eq!(membership, ServerMembership::Refused);
        }
    }

    #[test]
    fn every_state_has_its_number_and_can_be_reached_and_left() {
        let mut reached = vec![ServerMembership::Absent];
        let mut at = 0;
        while let Some(state) = reached.get(at).copied() {
            for input in INPUTS {
                let mut next = state;
                let _answer = next.handle(input);
                if !reached.contains(&next) {
                    reached.push(next);
                }
            }
            let leaves = INPUTS.iter().any(|input| {
                let mut next = state;
                let _answer = next.handle(*input);
                next != state
            });
            assert!(leaves, "{state:?} is never left");
            assert_eq!(ServerMembership::try_from(u8::from(state)), Ok(state));
            at += 1;
        }
        assert_eq!(reached.len(), ServerMembership::ALL.len(), "{reached:?}");
        assert_eq!(ServerMembership::try_from(9), Err(9));
    }

    proptest! {
        #[test]
        fn any_sequence_keeps_the_protocol(
            inputs in prop::collection::vec(prop::sample::select(INPUTS.as_slice()), 0..40),
        ) {
            let mut membership = ServerMembership::Absent;
            // What the client knows: whether it waits for an answer to CONNECT, and whether it was let in.
            let (mut waits, mut is_in, mut is_cut_off) = (false, false, false);
            for input in inputs {
                let before = membership;
                let answer = membership.handle(input);
                if matches!(input, Input::Connect { .. }) && before.is_over() {
                    let gave_up = before == ServerMembership::Left;
                    prop_assert!(!waits || gave_up || is_cut_off, "an answer is missing in {before:?}");
                    (waits, is_in, is_cut_off) = (true, false, false);
                }
                is_cut_off |= input == Input::Leave(LeftBy::Connection);
                match answer {
                    Some(Answer::Connect) => {
                        prop_assert!(waits && !is_in, "CONNECT is sent unasked in {before:?}");
                        (waits, is_in) = (false, true);
                    }
                    Some(Answer::ConnectError) => {
                        prop_assert!(waits && !is_in, "CONNECT_ERROR is sent unasked in {before:?}");
                        waits = false;
                    }
                    Some(Answer::Disconnect) => {
                        prop_assert!(is_in, "DISCONNECT is sent to a client that is not in, in {before:?}");
                        is_in = false;
                    }
                    None => {}
                }
                prop_assert_eq!(membership == ServerMembership::Joined, membership.accept(ClientPacket::Event) == Ok(Acceptance::Handle));
                prop_assert_eq!(membership.accept(ClientPacket::Connect).is_err(), membership.is_current());
                for packet in PACKETS {
                    // A client that was in the namespace never breaks the protocol by what it sent before it knew.
                    let ended = matches!(membership, ServerMembership::Leaving | ServerMembership::Left);
                    prop_assert!(!ended || membership.accept(packet).is_ok());
                }
                if before.is_current() && !membership.is_current() {
                    prop_assert!(matches!(input, Input::Leave(_) | Input::Refuse), "{before:?} ends by {input:?}");
                }
            }
            // When the connection has ended and all handlers have run, nothing is left to do.
            for input in [Input::Leave(LeftBy::Connection), Input::HandlersEnded] {
                let answer = membership.handle(input);
                prop_assert_eq!(answer, None);
            }
            if membership == ServerMembership::Rejected {
                prop_assert_eq!(membership.handle(Input::Refuse), Some(Answer::ConnectError));
            }
            prop_assert!(membership.is_over(), "{:?} is left over", membership);
        }
    }
}
