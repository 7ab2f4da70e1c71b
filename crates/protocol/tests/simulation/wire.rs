use std::collections::BTreeMap;

use sockeye_protocol::{
    engineio::session::{CloseReason, Role},
    websocket::CloseCode,
};

/// What travels on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Packet(String),
    Close(Option<CloseCode>),
    /// The sending side is shut.
    Fin,
    /// The connection broke.
    Reset,
}

/// Something that happens at an end of the session.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// The server: a GET has come.
    Get { request: u64 },
    /// The server: a GET is broken off.
    GetBroken { request: u64 },
    /// The server: a POST has come.
    Post { request: u64, packets: Vec<String> },
    /// The client: a GET is answered.
    GetAnswer { request: u64, answer: Result<Vec<String>, ()> },
    /// The client: a POST is answered.
    PostAnswer { request: u64, answer: Result<(), ()> },
    /// A WebSocket that is to take over is open.
    WebSocketOpen { websocket: u64 },
    /// What has come by a WebSocket is read at once.
    Frames { websocket: u64, frames: Vec<Frame> },
    /// The client: a WebSocket cannot be opened.
    WebSocketRefused,
    /// The application: a message is sent.
    Send,
    /// The application: the session is closed.
    Close { reason: CloseReason },
    /// The client: an upgrade begins.
    Upgrade,
    /// The server: a second GET comes, if one waits.
    SecondGet,
    /// The network: the WebSocket in use breaks.
    Cut { unaware: Option<Role> },
    /// The network: a WebSocket breaks or falls silent, unless it is in use by now.
    Abandon { websocket: u64, unaware: Option<Role> },
    /// The end stops reading.
    Hold,
    /// The end reads again.
    Resume,
    /// The process stands still.
    Freeze,
    /// The process goes on.
    Thaw,
    /// The timer fires.
    Timer,
}

impl Happening {
    /// Whether an end that reads nothing more at present does not see this yet.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Self::Post { .. } | Self::GetAnswer { .. } | Self::Frames { .. })
    }
}

/// What is to happen, by its time in microseconds. What is read comes before a timer of the same time.
#[derive(Default)]
pub(crate) struct Agenda {
    entries: BTreeMap<(u64, bool, u64), (Role, Happening)>,
    count: u64,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: u64, role: Role, happening: Happening) {
        self.count += 1;
        let is_timer = matches!(happening, Happening::Timer);
        self.entries.insert((at, is_timer, self.count), (role, happening));
    }

    pub(crate) fn next(&mut self) -> Option<(u64, Role, Happening)> {
        self.entries.pop_first().map(|((at, ..), (role, happening))| (at, role, happening))
    }
}

/// One direction of a WebSocket: when the last bytes of it arrive, and whether it carries more.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Direction {
    pub(crate) last_arrival: u64,
    pub(crate) is_shut: bool,
    pub(crate) is_broken: bool,
}
