//! What all servers on a bus of Python servers have to set alike.

/// What all servers of a cluster set alike, except for [`except_rooms`](Self::except_rooms).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonSettings {
    /// The channel, `channel` of the managers; on RabbitMQ the exchange. Default `socketio`. Flask-SocketIO's default is
    /// [`flask-socketio`](Self::FLASK_CHANNEL).
    pub channel: String,
    /// What the Python servers understand. Default the third generation.
    pub generation: Generation,
    /// What Python servers get of an event that excepts the members of rooms. Default nothing.
    pub except_rooms: ExceptRooms,
}

/// The generations of the format. They cannot be told apart by their messages. The first one, pickles of python-socketio
/// before 5.14, is not read, because reading a pickle can run code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Generation {
    /// python-socketio 5.14.0 to 5.15.0: `data` is the only argument. Several arguments reach Python servers as one list,
    /// as if they were sent by one of them.
    Second,
    /// python-socketio 5.15.1 and later: `data` is the list of arguments. Other values are read as a single argument.
    #[default]
    Third,
}

/// What Python servers get of an event that excepts the members of rooms, which they cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExceptRooms {
    /// Nothing, so that nobody receives what is not meant for them. It is logged.
    #[default]
    Withhold,
    /// The event: it reaches the members of these rooms, too, if they are clients of Python servers.
    Deliver,
}

impl PythonSettings {
    /// The channel of Flask-SocketIO, unless its `channel` is set.
    pub const FLASK_CHANNEL: &str = "flask-socketio";
}

impl Default for PythonSettings {
    fn default() -> Self {
        let (generation, except_rooms) = (Generation::default(), ExceptRooms::default());
        Self { channel: "socketio".into(), generation, except_rooms }
    }
}
